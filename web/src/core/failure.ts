/** Ways on after a run that failed. */

import type { Json, Message, ToolCall } from './wire.ts'

/** As the state of a thread has them: what is next, or was when the run failed. */
export interface Task {
  name: string
  error: string | null
  result: Json
}

/** The calls of tools that have no answer. */
export function open(messages: readonly Message[]): ToolCall[] {
  const answered = new Set(messages.map((one) => one.tool_call_id))
  return messages.flatMap((one) => one.tool_calls ?? []).filter((one) => !answered.has(one.id))
}

/** The state update that answers the calls which failed, as the node that failed; what its other tasks have done is kept. */
export function skipping(messages: readonly Message[], tasks: readonly Task[]): { values: Json; as_node: string } | null {
  const failed = tasks.find((one) => one.error !== null)
  if (!failed) return null
  const results: Json[] = tasks.flatMap((one) => (one.name === failed.name && one.error === null ? (one.result ?? []) : []))
  const done: Message[] = results.flatMap((one) => one.messages ?? [])
  const skipped = open([...messages, ...done]).map(({ id, name }) => ({ type: 'tool', tool_call_id: id, name, content: SKIPPED, status: 'error' }))
  return { values: { ...Object.assign({}, ...results), messages: [...done, ...skipped] }, as_node: failed.name }
}

const SKIPPED = 'The tool failed, and the person chose to go on without it.' // for the model
