/** What looks like a secret is not shown: a page may be seen by more than one. */

import type { Json } from './wire.ts'

const NAME = /(^|[_.\- ])(pass(word|wd|phrase)?|secret|token|api[_-]?key|authorization|credentials?|private[_-]?key)$/i

const parted = (name: string): string => name.replace(/([a-z])([A-Z])/g, '$1_$2')

/** The same, with dots for the values whose names say that they are secret. */
export function veiled(value: Json): Json {
  if (Array.isArray(value)) return value.map(veiled)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, NAME.test(parted(name)) ? '•••' : veiled(one)]))
}
