/** The checkpoints of a thread as steps, and in what two states differ. */

import type { Json } from './wire.ts'

export interface Step {
  id: string
  parent: string | null
  new: string[]
  removed: string[]
  source: string
  step: number
  next: string[]
  time: number
  run: string | null
}

/** The answer of `GET /threads/{id}/branches`: rows of `columns`, newest first. */
export interface Tree {
  head: string | null
  total: number
  columns: string[]
  runs: string[]
  checkpoints: Json[][]
  next_before: string | null
}

export function steps({ columns, checkpoints, runs }: Tree): Step[] {
  const rows = checkpoints.map((row) => Object.fromEntries(columns.map((name, place) => [name, row[place]])))
  return rows.map((row, place) => ({
    ...(row as Step),
    // A number says how many rows further on it stands.
    parent: typeof row.parent === 'number' ? rows[place + row.parent]!.id : row.parent,
    new: row.new ?? [],
    removed: row.removed ?? [],
    run: row.run === null ? null : runs[row.run]!,
  }))
}

/** The ids of those that lead to `last`. */
export function line(all: readonly Step[], last: string | null): Set<string> {
  const parents = new Map(all.map((one) => [one.id, one.parent]))
  const found = new Set<string>()
  for (let at = last; at !== null && parents.has(at); at = parents.get(at)!) found.add(at)
  return found
}

export interface Change {
  /** A key of the state; for a message `messages`, with its id. */
  key: string
  id?: string
  /** Undefined: there was none. */
  before: Json
  after: Json
}

/** Key by key, and message by message. */
export function changes(before: Json, after: Json): Change[] {
  const keys = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])].sort()
  return keys.flatMap((key) => {
    const [old, now] = [before?.[key], after?.[key]]
    if (same(old, now)) return []
    const listed = Boolean(old?.length || now?.length)
    if (listed && named(old ?? []) && named(now ?? [])) return entries(key, old ?? [], now ?? [])
    return [{ key, before: old, after: now }]
  })
}

const same = (one: Json, other: Json): boolean => JSON.stringify(one) === JSON.stringify(other)

const named = (value: Json): value is { id: string }[] =>
  Array.isArray(value) && value.every((one) => typeof one?.id === 'string' && typeof one.type === 'string')

function entries(key: string, before: { id: string }[], after: { id: string }[]): Change[] {
  const old = new Map(before.map((one) => [one.id, one]))
  const now = new Map(after.map((one) => [one.id, one]))
  return [...new Set([...old.keys(), ...now.keys()])]
    .map((id) => ({ key, id, before: old.get(id), after: now.get(id) }))
    .filter((one) => !same(one.before, one.after))
}
