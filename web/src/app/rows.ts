/** The threads of the list, as the feed tells them. */

import { computed, signal } from '@preact/signals'
import type { Json, Row } from '../core/wire.ts'
import { api } from './api.ts'
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
export function setRow(row: Row): void {
  next?.set(row.thread_id, row)
  rows.value = new Map(rows.peek()).set(row.thread_id, row)
}

export async function patch(id: string, change: Json): Promise<void> {
  const known = rows.value.get(id)
  if (known) {
    const metadata = { ...known.metadata, ...change.metadata }
    setRow({ ...known, ...change, metadata })
  }
  await api(`threads/${id}`, { method: 'PATCH', body: change, headers: { Prefer: 'return=minimal' } })
}
