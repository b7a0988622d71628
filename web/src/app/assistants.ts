/** Who can be talked to. */

import { signal } from '@preact/signals'
import type { Json } from '../core/wire.ts'
import { api } from './api.ts'
import { rows } from './rows.ts'

export const assistants = signal<Json[]>([])
export const assistant = signal<string | null>(null)

export function assistantOf(id: string): string | null {
  return rows.value.get(id)?.metadata.assistant_id ?? assistant.value ?? assistants.value[0]?.assistant_id ?? null
}

/** Asks until there is an answer. */
export async function loadAssistants(): Promise<void> {
  for (;;) {
    try {
      assistants.value = await api<Json[]>('assistants/search', { body: { limit: 200, sort_by: 'name', sort_order: 'asc' } })
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 4000))
    }
  }
}
