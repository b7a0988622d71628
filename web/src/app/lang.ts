/** 简体中文 and English. Each feature has a table of its words beside it; the type wants every key in both. */

import { signal } from '@preact/signals'
import { browser } from '../core/keeper.ts'

export const LANGUAGES = ['en', 'zh-CN'] as const
export type Language = (typeof LANGUAGES)[number]
export type Table<K extends string = string> = Record<Language, Record<K, string>>

const KEY = 'threadmill.language'

function chosen(): Language {
  const kept = browser.get(KEY)
  if (LANGUAGES.includes(kept as Language)) return kept as Language
  const wanted = globalThis.navigator?.languages ?? []
  const first = wanted.find((one) => /^(zh|en)\b/.test(one))
  return first?.startsWith('zh') ? 'zh-CN' : 'en'
}

export const language = signal<Language>(chosen())

export function speak(wanted: Language): void {
  language.value = wanted
  browser.set(KEY, wanted)
}

/** `t('left', { n: 3 })`; in a component it follows the language. */
export function words<K extends string>(table: Table<K>): (key: K, values?: Record<string, string | number>) => string {
  return (key, values = {}) =>
    table[language.value][key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole))
}
