/** The checkpoints of a thread as steps, and in what two states differ. */

import { textOf } from './turns.ts'
import type { Json, Message } from './wire.ts'

const LONGEST = 120

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

/** The answer of `GET /threads/{id}/diff`, as far as the page reads it. */
export interface Diff {
  channels: Record<string, { a?: Json; b?: Json }>
  a: { messages: Message[] }
  b: { messages: Message[]; tokens: { total_tokens: number }; seconds: number }
}

/** What a message says, in a line: its words, else the tools that it calls. */
export function gist(one: Message): string {
  const text = textOf(one.content).replace(/\s+/g, ' ').trim()
  return text ? text.slice(0, LONGEST) : (one.tool_calls ?? []).map((call) => call.name).join(', ')
}

export interface Change {
  /** A key of the state; for a message `messages`, with its id. */
  key: string
  id?: string
  /** Undefined: there was none. */
  before: Json
  after: Json
}

/** Message by message, then key by key. */
export function changes({ channels, a, b }: Pick<Diff, 'channels'> & { a: { messages: Message[] }; b: { messages: Message[] } }): Change[] {
  const old = new Map(a.messages.map((one) => [one.id, one]))
  const now = new Map(b.messages.map((one) => [one.id, one]))
  const said = [...new Set([...old.keys(), ...now.keys()])].map((id) => ({ key: 'messages', id, before: old.get(id), after: now.get(id) }))
  return [...said, ...Object.entries(channels).map(([key, side]) => ({ key, before: side.a, after: side.b }))]
}

/** Of the first step: all that is there. */
export function begun(values: Json): Change[] {
  const { messages, ...others } = values ?? {}
  const said = { a: { messages: [] }, b: { messages: messages ?? [] } }
  return changes({ channels: Object.fromEntries(Object.entries(others).map(([key, b]) => [key, { b }])), ...said })
}
