/** Which conversations the side column shows. A feature that filters adds its test here. */

import { computed, signal } from '@preact/signals'
import type { Row } from '../core/wire.ts'
import { hidden, rows } from './rows.ts'

/** By the feature that adds it: whether a row stays. */
export const filters = signal<Record<string, (row: Row) => boolean>>({})

export function filter(name: string, stays: ((row: Row) => boolean) | null): void {
  const { [name]: _, ...others } = filters.value
  filters.value = stays === null ? others : { ...others, [name]: stays }
}

export const pinnedAt = (row: Row): number => Number(row.metadata.pinned ?? 0)
export const archivedAt = (row: Row): number => Number(row.metadata.archived ?? 0)

/** Whether the list shows what was put away, instead of the rest. */
export const archive = signal(false)

const sorted = computed(() =>
  [...rows.value.values()]
    .filter((row) => !hidden.value.has(row.thread_id))
    .sort((a, b) => pinnedAt(b) - pinnedAt(a) || (a.last_activity_at < b.last_activity_at ? 1 : -1)),
)

export const archived = computed(() => sorted.value.filter(archivedAt).length)

/** Who filters looks for something, wherever it was put. */
export const listed = computed<Row[]>(() => {
  const tests = Object.values(filters.value)
  if (tests.length) return sorted.value.filter((row) => tests.every((test) => test(row)))
  return sorted.value.filter((row) => archivedAt(row) > 0 === archive.value)
})
