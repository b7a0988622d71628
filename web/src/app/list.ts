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

const sorted = computed(() =>
  [...rows.value.values()].sort((a, b) => pinnedAt(b) - pinnedAt(a) || (a.last_activity_at < b.last_activity_at ? 1 : -1)),
)

export const listed = computed<Row[]>(() => {
  const tests = Object.values(filters.value)
  return sorted.value.filter((row) => !hidden.value.has(row.thread_id) && tests.every((test) => test(row)))
})
