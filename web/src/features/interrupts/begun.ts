/** Answers that are not sent yet, of this tab: of several questions those that come before the last, and what one writes. */

import { effect, signal } from '@preact/signals'
import type { Written } from '../../core/field.ts'
import { tab } from '../../core/keeper.ts'
import type { Interrupt, Json } from '../../core/wire.ts'

interface Begun {
  answer?: { value: Json }
  choice?: string
  fields?: Record<string, Written>
}

const KEY = 'threadmill.answers'
const MOST = 20
const all = signal<Record<string, Begun>>(tab.read(KEY, {}))
effect(() => tab.set(KEY, JSON.stringify(all.value)))

/** A node that asks twice does so with one id. */
const nameOf = (one: Interrupt): string => `${one.interrupt_id} ${JSON.stringify(one.value)}`

export const begun = (one: Interrupt): Begun => all.value[nameOf(one)] ?? {}

/** Those that are to be asked. If all have an answer, one that was asked with them is gone: the last is asked again. */
export function unanswered(list: Interrupt[]): Interrupt[] {
  const left = list.filter((one) => !begun(one).answer)
  return left.length ? left : list.slice(-1)
}

export function begin(one: Interrupt, what: Begun): void {
  const name = nameOf(one)
  const { [name]: before, ...others } = all.peek()
  all.value = Object.fromEntries([...Object.entries(others), [name, { ...before, ...what }]].slice(-MOST))
}

export function forget(list: Interrupt[]): void {
  const names = list.map(nameOf)
  all.value = Object.fromEntries(Object.entries(all.peek()).filter(([name]) => !names.includes(name)))
}
