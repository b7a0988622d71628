/** What is said in a thread, in one list: the state's messages, then those in flight, then those on their way. */

import { messages, type View } from './view.ts'
import type { Block, FlyingTool, Json, Message, ToolCall } from './wire.ts'
import type { Letter } from './outbox.ts'

export interface Step {
  call: ToolCall
  /** A tool message's, as text. */
  result: string | null
  images: string[]
  status: 'waiting' | 'running' | 'finished' | 'error' | 'stopped'
  live: FlyingTool | null
  duration_ms: number | null
}

export interface Said {
  key: string
  kind: 'human' | 'ai' | 'other'
  text: string
  reasoning: string
  images: string[]
  steps: Step[]
  /** Still being written. */
  live: boolean
  stopped: boolean
  letter: Letter | null
  message: Message | null
  /** Tokens that models took and gave since the last question, as far as they told. */
  used: Used | null
  /** Of the subgraph that says it. */
  namespace: string[]
}

export interface Used {
  input: number
  output: number
}

export function textOf(content: string | Block[] | null | undefined): string {
  if (typeof content === 'string') return content
  return (content ?? []).map((one) => (one.type === 'text' ? (one.text ?? '') : '')).join('')
}

function reasoningOf(content: string | Block[] | null | undefined): string {
  if (!Array.isArray(content)) return ''
  return content.map((one) => (one.type === 'reasoning' ? (one.reasoning ?? one.text ?? '') : '')).join('')
}

function imagesOf(content: string | Block[] | null | undefined): string[] {
  if (!Array.isArray(content)) return []
  return content.flatMap(imageOf).filter((one) => typeof one === 'string')
}

function imageOf(one: Block): Json[] {
  if (one.type === 'image_url') return [typeof one.image_url === 'string' ? one.image_url : one.image_url?.url]
  if (one.type !== 'image') return []
  const data = one.base64 ?? one.data ?? one.source?.data
  const type = one.mime_type ?? one.source?.media_type ?? 'image/png'
  return [data ? `data:${type};base64,${data}` : (one.url ?? one.source?.url)]
}

/** Cheap when little has changed: what `before` made of the same message and the same answers is used again. */
export function turns(view: View, letters: Letter[]): Said[] {
  const held = messages(view)
  const flight = view.in_flight
  const answers = new Map<string, Message>()
  for (const one of held) if (one.type === 'tool' && one.tool_call_id) answers.set(one.tool_call_id, one)
  const live = new Map((flight?.tools ?? []).map((one) => [one.tool_call_id, one]))
  const asked = new Set(view.interrupts.flatMap((one) => one.value?.tool_call_id ?? []))
  const list: Said[] = []
  let used: Used | null = null
  for (const one of held) {
    if (one.type === 'tool' || one.type === 'system') continue
    used = one.type === 'human' ? null : sum(used, one.usage_metadata)
    list.push(remembered(one, answers, live, flight !== null, asked, used))
  }
  for (const one of flight?.messages ?? []) {
    if (one.role !== 'ai' && one.role !== 'assistant') continue
    const calls = one.blocks.flatMap((block) => callOf(block) ?? [])
    list.push({
      key: one.id,
      kind: 'ai',
      text: one.text,
      reasoning: reasoningOf(one.blocks),
      images: imagesOf(one.blocks),
      steps: calls.map((call) => step(call, answers, live, true, asked)),
      live: !one.complete && one.error === undefined,
      stopped: one.error !== undefined,
      letter: null,
      message: null,
      used: null,
      namespace: one.namespace,
    })
  }
  const known = new Set(held.map((one) => one.id))
  for (const letter of letters) if (!known.has(letter.id)) list.push(written(letter))
  return list
}

/** The key of the turn that shows a message: what a tool answered is shown with the call. */
export function turnOf(held: readonly Message[], id: string): string | null {
  const one = held.find((other) => other.id === id)
  if (one?.type !== 'tool') return one?.id ?? null
  return held.find((other) => other.tool_calls?.some((call) => call.id === one.tool_call_id))?.id ?? null
}

function written(letter: Letter): Said {
  const images = imagesOf(letter.body.input?.messages?.[0]?.content)
  const nothing = { reasoning: '', images, steps: [], live: false, stopped: false, message: null, used: null, namespace: [] }
  return { key: letter.id, kind: 'human', text: letter.text, letter, ...nothing }
}

function sum(before: Used | null, more: Message['usage_metadata']): Used | null {
  return more ? { input: (before?.input ?? 0) + more.input_tokens, output: (before?.output ?? 0) + more.output_tokens } : before
}

const memory = new WeakMap<Message, { basis: unknown[]; said: Said }>()

function remembered(
  one: Message,
  answers: Map<string, Message>,
  live: Map<string, FlyingTool>,
  running: boolean,
  asked: Set<string>,
  used: Used | null,
): Said {
  const calls = one.tool_calls ?? []
  const steps = calls.flatMap((call) => [answers.get(call.id), live.get(call.id), asked.has(call.id), running])
  const basis = [used?.input, used?.output, ...steps]
  const known = memory.get(one)
  if (known && known.basis.length === basis.length && known.basis.every((part, place) => part === basis[place])) {
    return known.said
  }
  const said: Said = {
    key: one.id,
    kind: one.type === 'human' ? 'human' : one.type === 'ai' ? 'ai' : 'other',
    text: textOf(one.content),
    reasoning: reasoningOf(one.content) || String(one.additional_kwargs?.reasoning_content ?? ''),
    images: imagesOf(one.content),
    steps: calls.map((call) => step(call, answers, live, running, asked)),
    live: false,
    stopped: one.response_metadata?.finish_reason === 'stopped',
    letter: null,
    message: one,
    used,
    namespace: [],
  }
  memory.set(one, { basis, said })
  return said
}

function step(
  call: ToolCall,
  answers: Map<string, Message>,
  live: Map<string, FlyingTool>,
  running: boolean,
  asked: Set<string>,
): Step {
  const answer = answers.get(call.id)
  const flying = live.get(call.id) ?? null
  const failed = answer?.response_metadata?.finish_reason === 'stopped' ? 'stopped' : 'error'
  const done = answer ? (answer.status === 'error' ? failed : 'finished') : null
  const now = flying?.status ?? (running && !asked.has(call.id) ? 'running' : 'waiting')
  const told: Json = flying?.output?.content ?? flying?.output
  const shown = answer ? textOf(answer.content) : (flying?.message ?? (told === undefined ? null : plain(told)))
  return { call, result: shown, images: imagesOf(answer?.content), status: done ?? now, live: flying, duration_ms: flying?.duration_ms ?? null }
}

function callOf(block: Block): ToolCall | null {
  if (block.type !== 'tool_call' && block.type !== 'tool_call_chunk') return null
  return { id: String(block.id ?? ''), name: String(block.name ?? ''), args: block.args }
}

export function plain(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value, null, 2)
}
