/** What an interrupt asks, in the forms that graphs ask in, and the answer that each of them understands. */

import { fieldOf, type Field } from '../../core/field.ts'
import type { Json } from '../../core/wire.ts'

export interface Choice {
  /** approve, reject, edit, respond, or the graph's own word. */
  id: string
  fields: Field[]
  answer: (values: Record<string, Json>) => Json
}

export interface Question {
  title: string
  /** What is shown, without what is only for this form. */
  details: Record<string, Json>
  choices: Choice[]
}

const FORMS = ['options', 'response_schema', 'action_requests', 'review_configs']
const OWN = new Set(['type', 'question', 'tool_call_id', 'description', 'message', 'title', ...FORMS])

export function questionOf(value: Json): Question {
  const schema = value?.response_schema
  const requests = value?.action_requests
  if (!schema?.properties && Array.isArray(requests) && requests.length) return reviewed(value, requests)
  if (Array.isArray(value) && value[0]?.action_request) return inbox(value)
  if (value?.action_request) return inbox([value])
  const title = String(value?.question ?? value?.title ?? value?.message ?? value?.description ?? (typeof value === 'string' ? value : ''))
  const shown = value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {}
  const details = Object.fromEntries(Object.entries(shown).filter(([key, one]) => !OWN.has(key) && one !== ''))
  if (schema?.properties) return { title, details, choices: ofSchema(schema, shown) }
  const options = Array.isArray(value?.options) ? value.options.map(String) : []
  if (options.length) return { title, details, choices: options.map((id: string) => plainChoice(id)) }
  return { title, details, choices: [free()] }
}

/** An object with an enum that says what is decided, and the fields that go with each. */
function ofSchema(schema: Json, shown: Json): Choice[] {
  const [name, decides] = (Object.entries(schema.properties) as [string, Json][]).find(([, one]) => Array.isArray(one.enum)) ?? []
  if (name === undefined) {
    const fields = fieldsOf(schema.properties, shown, () => true)
    return [{ id: 'respond', fields, answer: (values) => filled(values) }]
  }
  const others = Object.fromEntries(Object.entries(schema.properties).filter(([key]) => key !== name)) as Record<string, Json>
  return decides.enum.map((id: string) => ({
    id,
    fields: fieldsOf(others, shown, (one) => belongs(one, id, decides.enum)),
    answer: (values: Record<string, Json>) => ({ [name]: id, ...filled(values) }),
  }))
}

/** A description that begins with "For edit:" says for which decision a field is. */
function belongs(property: Json, id: string, ids: string[]): boolean {
  const named = ids.filter((one) => new RegExp(`\\bfor ${one}\\b`, 'i').test(String(property.description ?? '')))
  if (named.length) return named.includes(id)
  return id !== 'approve'
}

function fieldsOf(properties: Record<string, Json>, shown: Json, wanted: (property: Json) => boolean): Field[] {
  return Object.entries(properties).flatMap(([name, property]) => {
    if (!wanted(property)) return []
    const field = fieldOf(name, property)
    return [{ ...field, hint: field.hint.replace(/^for \w+:\s*/i, ''), value: shown[name] ?? field.value }]
  })
}

const filled = (values: Record<string, Json>): Record<string, Json> =>
  Object.fromEntries(Object.entries(values).filter(([, one]) => one !== '' && one !== undefined))

const plainChoice = (id: string): Choice => ({ id, fields: [], answer: () => id })

const free = (): Choice => ({
  id: 'respond',
  fields: [fieldOf('answer', { type: 'string' })],
  answer: ({ answer }) => answer ?? '',
})

/** LangChain's middleware for people in the loop: decisions, one for each action. */
function reviewed(value: Json, requests: Json[]): Question {
  const allowed: string[] = value.review_configs?.[0]?.allowed_decisions ?? ['approve', 'edit', 'reject']
  const [first] = requests
  const details = Object.fromEntries(requests.map((one) => [String(one.name ?? one.action), one.args ?? one.arguments]))
  const args = fieldOf('args', { default: first.args ?? first.arguments ?? {} })
  const message = fieldOf('message', { type: 'string' })
  const each = (decision: Json): Json => ({ decisions: requests.map(() => decision) })
  const all: Record<string, Choice> = {
    approve: { id: 'approve', fields: [], answer: () => each({ type: 'approve' }) },
    reject: { id: 'reject', fields: [message], answer: (values) => each({ type: 'reject', ...filled(values) }) },
    edit: {
      id: 'edit',
      fields: [args],
      answer: (values) => each({ type: 'edit', edited_action: { name: first.name ?? first.action, args: values.args ?? {} } }),
    },
  }
  // A change is for one action; several are approved or rejected together.
  const ids = allowed.filter((id) => id in all && !(id === 'edit' && requests.length > 1))
  return { title: String(first.description ?? first.name ?? ''), details, choices: ids.map((id) => all[id]!) }
}

/** The form of LangGraph's agent inbox. */
function inbox(list: Json[]): Question {
  const [first] = list
  const { action, args } = first.action_request
  const may = first.config ?? {}
  const json = fieldOf('args', { default: args ?? {} })
  const text = fieldOf('response', { type: 'string' })
  const choices: Choice[] = []
  if (may.allow_accept) choices.push({ id: 'approve', fields: [], answer: () => [{ type: 'accept', args: null }] })
  if (may.allow_edit) {
    choices.push({ id: 'edit', fields: [json], answer: (values) => [{ type: 'edit', args: { action, args: values.args ?? {} } }] })
  }
  if (may.allow_respond) {
    choices.push({ id: 'respond', fields: [text], answer: (values) => [{ type: 'response', args: values.response ?? '' }] })
  }
  if (may.allow_ignore) choices.push({ id: 'reject', fields: [], answer: () => [{ type: 'ignore', args: null }] })
  return { title: String(first.description ?? action), details: { [action]: args }, choices }
}
