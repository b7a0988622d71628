/** Several conversations of the list, to do something with them together. */

import { computed, signal } from '@preact/signals'
import { listed } from '../../app/list.ts'
import type { Row } from '../../core/wire.ts'

/** Null while nobody selects. */
export const chosen = signal<ReadonlySet<string> | null>(null)
/** Only what the list shows: nobody does something with what they do not see. */
export const selected = computed<Row[]>(() => listed.value.filter((row) => chosen.value?.has(row.thread_id)))

let anchor: string | null = null

export function begin(ids: string[] = []): void {
  chosen.value = new Set(ids)
  anchor = ids[0] ?? null
}

export const end = (): unknown => (chosen.value = null)

export function toggle(id: string): void {
  const next = new Set(chosen.value)
  if (!next.delete(id)) next.add(id)
  chosen.value = next
  anchor = id
}

/** All from the one that was clicked last to this. */
export function extend(id: string): void {
  const ids = listed.value.map((row) => row.thread_id)
  const [from, to] = [ids.indexOf(anchor ?? id), ids.indexOf(id)].sort((a, b) => a - b)
  chosen.value = new Set([...(chosen.value ?? []), ...ids.slice(Math.max(from!, 0), to! + 1)])
}

export function toggleAll(): void {
  const all = selected.value.length === listed.value.length
  chosen.value = new Set(all ? [] : listed.value.map((row) => row.thread_id))
}
