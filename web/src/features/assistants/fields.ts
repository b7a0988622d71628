/** What can be set of an assistant, from the schema of its graph. */

import { signal } from '@preact/signals'
import { api } from '../../app/api.ts'
import { fieldsOf, type Field } from '../../core/field.ts'
import type { Json } from '../../core/wire.ts'

const NONE: Field[] = []
const known = signal<Record<string, Field[]>>({})
const asked = new Set<string>()

export function fields(assistant: string | null): Field[] {
  if (assistant !== null && !asked.has(assistant)) void load(assistant)
  return known.value[assistant ?? ''] ?? NONE
}

async function load(assistant: string): Promise<void> {
  asked.add(assistant)
  try {
    const { context_schema, config_schema } = await api<Json>(`assistants/${assistant}/schemas`)
    known.value = { ...known.peek(), [assistant]: fieldsOf(context_schema ?? config_schema) }
  } catch {
    asked.delete(assistant) // who looks again asks again
  }
}
