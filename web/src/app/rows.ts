/** The threads of the list, as the feed tells them. */

import { computed, signal } from '@preact/signals'
import type { Json, Row } from '../core/wire.ts'
import { api, each } from './api.ts'
import { current } from './route.ts'

export const rows = signal<ReadonlyMap<string, Row>>(new Map())
/** Whether the list is the server's, or (null) nothing is known yet. */
export const listKnown = signal<'cached' | 'live' | null>(null)
/** Hidden until their undo has passed. */
export const hidden = signal<ReadonlySet<string>>(new Set())

export const row = computed(() => rows.value.get(current.value ?? '') ?? null)

let next: Map<string, Row> | null = null

/** A list of thousands comes as thousands of frames: it is shown once for all that came together. */
export function gathered(shown: () => void): Map<string, Row> {
  if (next === null) {
    next = new Map(rows.peek())
    const show = (): void => {
      rows.value = next ?? rows.peek()
      next = null
      listKnown.value = 'live'
      shown()
    }
    setTimeout(show, document.hidden ? 100 : 16)
  }
  return next
}

/** For what this page changes itself, before the list tells it. */
export function setRows(changed: Row[]): void {
  const all = new Map(rows.peek())
  for (const row of changed) {
    next?.set(row.thread_id, row)
    all.set(row.thread_id, row)
  }
  rows.value = all
}

const changed = (row: Row, change: Json): Row => ({ ...row, ...change, metadata: { ...row.metadata, ...change.metadata } })

export const patch = (id: string, change: Json): Promise<void> => patchAll(new Map([[id, change]]))

/** Shown at once; what the server refuses is taken back, and the first reason is raised when all have been asked for. */
export async function patchAll(changes: ReadonlyMap<string, Json>): Promise<void> {
  const before = rows.peek()
  const known = [...changes.keys()].flatMap((id) => before.get(id) ?? [])
  setRows(known.map((row) => changed(row, changes.get(row.thread_id))))
  const refused: unknown[] = []
  await each([...changes], async ([id, body]) => {
    try {
      await api(`threads/${id}`, { method: 'PATCH', body, headers: { Prefer: 'return=minimal' } })
    } catch (error) {
      refused.push(error)
      setRows(known.filter((row) => row.thread_id === id))
    }
  })
  if (refused.length) throw refused[0]
}
