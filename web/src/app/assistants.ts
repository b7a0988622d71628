/** Who can be talked to, and with what settings. Both are the thread's: its metadata has `assistant_id` and `context`. */

import { signal } from '@preact/signals'
import { browser } from '../core/keeper.ts'
import type { Json } from '../core/wire.ts'
import { api } from './api.ts'
import { patch, rows } from './rows.ts'

export interface Assistant {
  assistant_id: string
  graph_id: string
  name: string
  description: string | null
  /** What it says to its graph where a conversation says nothing. */
  context: Record<string, Json> | null
  /** Of its makers; what it suggests to ask is `starters`. */
  metadata: Record<string, Json> | null
}

export type Context = Record<string, Json>

const KEY = 'threadmill.assistant'

export const assistants = signal<Assistant[]>([])
/** The one that was chosen last, for new conversations. */
const preferred = signal<string | null>(browser.get(KEY))
/** Of a conversation that the server does not have yet. */
const begun = signal<{ thread: string; context: Context } | null>(null)

const known = (id: string | null): Assistant | undefined => assistants.value.find((one) => one.assistant_id === id)

export function assistantOf(id: string): string | null {
  const { assistant_id, graph_id } = rows.value.get(id)?.metadata ?? {}
  if (assistant_id) return assistant_id
  const same = assistants.value.find((one) => one.graph_id === graph_id)
  return (same ?? known(preferred.value) ?? assistants.value[0])?.assistant_id ?? null
}

export const contextOf = (id: string): Context =>
  rows.value.get(id)?.metadata.context ?? (begun.value?.thread === id ? begun.value.context : {})

/** As part of the body of a run. */
export function contextFor(id: string): { context?: Context } {
  const context = contextOf(id)
  return Object.keys(context).length ? { context } : {}
}

/** Settings are those of one assistant. */
export async function choose(id: string, assistant_id: string): Promise<void> {
  if (rows.value.has(id)) return patch(id, { metadata: { assistant_id, context: {} } })
  browser.set(KEY, assistant_id)
  preferred.value = assistant_id
  begun.value = null
}

export async function set(id: string, context: Context): Promise<void> {
  if (rows.value.has(id)) return patch(id, { metadata: { context } })
  begun.value = { thread: id, context }
}

export async function readAssistants(): Promise<void> {
  assistants.value = await api<Assistant[]>('assistants/search', { body: { limit: 200, sort_by: 'name', sort_order: 'asc' } })
}

/** Asks until there is an answer. */
export async function loadAssistants(): Promise<void> {
  for (;;) {
    try {
      return await readAssistants()
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 4000))
    }
  }
}
