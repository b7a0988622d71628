/** What the server sends, as far as the page reads it: see docs/streaming.md and docs/http.md. */

export type Json = any

export interface Envelope {
  seq: number
  event_id: string
  method: string
  params: { namespace: string[]; timestamp: number; data: Json }
}

export type Status = 'running' | 'queued' | 'paused' | 'waiting' | 'failed' | 'idle'

/** A thread as the list feed tells it. */
export interface Row {
  thread_id: string
  status: Status
  title: string | null
  preview: string | null
  message_count: number
  created_at: string
  updated_at: string
  last_activity_at: string
  unread: boolean
  metadata: Record<string, Json>
}

export interface ToolCall {
  id: string
  name: string
  args: Json
}

export interface Block {
  type: string
  text?: string
  [key: string]: Json
}

/** A message of the state. */
export interface Message {
  id: string
  type: string
  content: string | Block[]
  name?: string
  tool_calls?: ToolCall[]
  tool_call_id?: string
  status?: string
  usage_metadata?: { input_tokens: number; output_tokens: number; total_tokens: number }
  response_metadata?: Record<string, Json>
  additional_kwargs?: Record<string, Json>
}

export interface FlyingMessage {
  id: string
  role: string
  namespace: string[]
  text: string
  blocks: Block[]
  started_at: number
  last_event_at: number
  complete: boolean
  tool_call_id?: string
  metadata?: Json
  usage?: Json
  error?: string
}

export interface FlyingTool {
  tool_call_id: string
  tool_name?: string
  input?: Json
  namespace: string[]
  status: 'running' | 'finished' | 'error' | 'stopped'
  started_at: number
  last_event_at: number
  progress?: { text?: string; phase?: string; current?: number; total?: number; data?: Json; still_working?: boolean }
  deltas?: Json[]
  output?: Json
  message?: string
  duration_ms?: number
  code?: string
}

export interface Flight {
  run_id: string
  attempt: number
  started_at: number
  last_event_at: number
  stated: boolean
  messages: FlyingMessage[]
  tools: FlyingTool[]
}

export interface Interrupt {
  interrupt_id: string
  value: Json
  namespace: string[]
}

export interface QueuedRun {
  run_id: string
  position: number | null
  status: 'running' | 'pending'
  paused: boolean
  created_at: string
  asked: string | null
  attempt: number
}

export interface Snapshot {
  thread: Row
  values: Json
  messages: Message[]
  in_flight: Flight | null
  interrupts: Interrupt[]
  status: string | null
  error: string | null
  queue: QueuedRun[]
  cursor: number
  stale: boolean
}
