/** What the page shows of a thread, as a function of what was told: the rules of `streaming/view.py`, in TypeScript.
 *
 * `tests/web/test_core.py` gives both the same envelopes and compares what they make of them.
 */

import type { Block, Envelope, Flight, FlyingMessage, FlyingTool, Interrupt, Json, Message } from './wire.ts'

export interface View {
  values: Json
  status: string | null
  error: string | null
  in_flight: Flight | null
  interrupts: Interrupt[]
  stale: boolean
  cursor: number
}

export const EMPTY: View = {
  values: null,
  status: null,
  error: null,
  in_flight: null,
  interrupts: [],
  stale: false,
  cursor: 0,
}

const GROWING: Record<string, string> = {
  'text-delta': 'text',
  'reasoning-delta': 'reasoning',
  'tool-call-delta': 'args',
  'data-delta': 'data',
}

/** `envelope` as it is on the wire. */
export function apply(before: View, envelope: Envelope): View {
  if (envelope.seq <= before.cursor) return before
  let view: View = { ...before, cursor: envelope.seq }
  const { data, namespace, timestamp: at } = envelope.params
  const root = namespace.length === 0
  if (envelope.method === 'lifecycle' && root) return lifecycle(view, data, envelope.event_id.split(':')[1]!, at)
  if (envelope.method === 'input.requested') {
    const others = view.interrupts.filter((one) => one.interrupt_id !== data.interrupt_id)
    return { ...view, interrupts: [...others, { interrupt_id: data.interrupt_id, value: data.value, namespace }] }
  }
  const state = envelope.method === 'values' && root
  if (state) view = { ...view, values: data, stale: false }
  if (view.in_flight === null) return view
  let flight: Flight = { ...view.in_flight, last_event_at: at }
  if (state) flight = landed(flight, data)
  else if (envelope.method === 'messages') flight.messages = said(flight.messages, data, namespace, at)
  else if (envelope.method === 'tools') flight.tools = tool(flight.tools, data, namespace, at)
  return { ...view, in_flight: flight }
}

/** Those of the state. */
export function messages(view: { values: Json }): Message[] {
  const held = view.values?.messages
  return Array.isArray(held) ? held : []
}

function lifecycle(before: View, data: Json, runId: string, at: number): View {
  const stale = before.stale || (before.in_flight !== null && !before.in_flight.stated)
  const status = data.stopped ? 'interrupted' : data.event
  const view: View = { ...before, status, error: data.error ?? null, in_flight: null }
  if (data.event === 'running') {
    const begun = { run_id: runId, attempt: data.attempt ?? 1, started_at: at, last_event_at: at }
    return { ...view, in_flight: { ...begun, stated: false, messages: [], tools: [] } }
  }
  if (data.event === 'paused') return view
  const asked = new Map(view.interrupts.map((one) => [one.interrupt_id, one]))
  const kept = ((data.interrupts ?? []) as string[]).flatMap((one) => asked.get(one) ?? [])
  return { ...view, interrupts: kept, stale: stale || Boolean(data.undone) }
}

function landed(flight: Flight, values: Json): Flight {
  const held = messages({ values })
  const there = new Set<unknown>(held.map((one) => one.id))
  const answered = new Set<unknown>(held.map((one) => one.tool_call_id).filter((one) => one != null))
  return {
    ...flight,
    stated: true,
    messages: flight.messages.filter((one) => !there.has(one.id) && !answered.has(one.tool_call_id)),
    tools: flight.tools.filter((one) => one.status === 'running'),
  }
}

function said(flying: FlyingMessage[], data: Json, namespace: string[], at: number): FlyingMessage[] {
  if (data.event === 'message-start') {
    const named = Object.fromEntries(['tool_call_id', 'metadata'].filter((key) => key in data).map((key) => [key, data[key]]))
    const begun = { id: data.id, role: data.role, namespace, text: '', blocks: [], started_at: at, last_event_at: at }
    return [...flying.filter((one) => one.id !== data.id), { ...begun, complete: false, ...named }]
  }
  const place = flying.findIndex((one) => one.id === data.id)
  if (place < 0) return flying
  const message: FlyingMessage = { ...flying[place]!, last_event_at: at }
  if (data.event === 'message-finish') {
    message.complete = true
    if ('usage' in data) message.usage = data.usage
  } else if (data.event === 'error') {
    message.error = data.code
  } else {
    message.blocks = block(message.blocks, data)
    message.text = message.blocks.map((one) => (one.type === 'text' ? one.text : '')).join('')
  }
  return flying.with(place, message)
}

/** The blocks of one message; they begin in the order of their `index`. */
function block(blocks: Block[], data: Json): Block[] {
  const index: number = data.index
  if (data.event === 'content-block-start' || data.event === 'content-block-finish') {
    return [...blocks.slice(0, index), data.content, ...blocks.slice(index + 1)]
  }
  const delta = data.delta ?? { type: 'text-delta', text: data.content.text ?? '' }
  const name = GROWING[delta.type]!
  const grown = { ...blocks[index]!, [name]: (blocks[index]![name] ?? '') + delta[name] }
  return [...blocks.slice(0, index), grown, ...blocks.slice(index + 1)]
}

function tool(tools: FlyingTool[], data: Json, namespace: string[], at: number): FlyingTool[] {
  const call = data.tool_call_id
  if (data.event === 'tool-started') {
    const keys = ['tool_call_id', 'tool_name', 'input'].filter((key) => key in data)
    const known = Object.fromEntries(keys.map((key) => [key, data[key]]))
    const begun = { ...known, namespace, status: 'running', started_at: at, last_event_at: at } as unknown as FlyingTool
    return [...tools.filter((one) => one.tool_call_id !== call), begun]
  }
  const { event, tool_call_id: _, ...told } = data
  return tools.map((one) => {
    if (one.tool_call_id !== call) return one
    const after = { ...one, last_event_at: at }
    if (event === 'tool-progress') return { ...after, progress: told }
    if (event === 'tool-output-delta') return { ...after, deltas: [...(one.deltas ?? []), told.delta] }
    const ended = event === 'tool-finished' ? 'finished' : 'error'
    return { ...after, ...told, status: told.code === 'stopped' ? 'stopped' : ended }
  })
}
