/** A socket where no WebSocket gets through: its frames come in one response of `POST /events`, which begins again, from
 * all cursors, when more is to be watched. What the hub says is carried out here; pings are not, the response has a pulse. */

import { UNAUTHORIZED, type Socket } from './hub.ts'
import type { Json } from './wire.ts'

interface Subscription {
  /** None: the list feed. */
  thread?: string
  since: number
  /** That began it, and whether it has its answer. */
  command: number
  answered: boolean
}

/** As much of `fetch` as is needed. */
export type Ask = (url: string, options: RequestInit) => Promise<Pick<Response, 'ok' | 'status' | 'body'>>

/** Of `/ws` at `url`: the socket itself, or in its place a response. */
export const socketAt = (url: string) => (streamed: boolean): Socket =>
  streamed ? new Events(url.replace(/^ws/, 'http').replace(/ws$/, 'events')) : new WebSocket(url)

export class Events implements Socket {
  onopen: Socket['onopen'] = null
  onmessage: Socket['onmessage'] = null
  onclose: Socket['onclose'] = null
  private readonly subscriptions = new Map<string, Subscription>()
  private readonly url: string
  private readonly ask: Ask
  private token: string | null = null
  private count = 0
  private asking: ReturnType<typeof setTimeout> | undefined
  private request: AbortController | null = null
  private ready = false

  constructor(url: string, ask: Ask = (...what) => fetch(...what)) {
    this.url = url
    this.ask = ask
    this.asking = setTimeout(() => {
      this.onopen?.({})
      void this.begin()
    })
  }

  send(text: string): void {
    const { id, method, params }: Json = JSON.parse(text)
    if (method === 'auth') this.token = params.token
    else if (method === 'subscription.unsubscribe') this.subscriptions.delete(params.subscription_id)
    else if (method === 'subscription.subscribe' || method === 'feed.subscribe') {
      const thread: Json = method === 'feed.subscribe' ? {} : { thread: params.thread_id }
      this.subscriptions.set(`response-${++this.count}`, { ...thread, since: params.since, command: id, answered: false })
      clearTimeout(this.asking)
      this.asking = setTimeout(() => void this.begin())
    }
  }

  close(): void {
    clearTimeout(this.asking)
    this.request?.abort()
    this.request = null
  }

  private async begin(): Promise<void> {
    this.request?.abort()
    const request = (this.request = new AbortController())
    const headers: Record<string, string> = { 'content-type': 'application/json' }
    if (this.token !== null) headers.authorization = `Bearer ${this.token}`
    let code = 0
    try {
      const body = JSON.stringify(this.wanted())
      const answer = await this.ask(this.url, { method: 'POST', headers, body, signal: request.signal })
      if (answer.status === 401) code = UNAUTHORIZED
      if (answer.ok && answer.body) for await (const line of lines(answer.body)) this.line(line, request)
    } catch {
      // the connection was cut, or given up here
    }
    if (request === this.request) this.onclose?.({ code })
  }

  /** The feed always: without it, threads that are gone would be no response at all. */
  private wanted(): Json {
    const cursors: Record<string, number> = {}
    let feed: Json = {}
    for (const { thread, since } of this.subscriptions.values()) {
      if (thread === undefined) feed = { since: Math.min(since, feed.since ?? since) }
      else cursors[thread] = Math.min(since, cursors[thread] ?? since)
    }
    return { feed, ...(Object.keys(cursors).length && { cursors }) }
  }

  private line(line: string, request: AbortController): void {
    if (request !== this.request) return
    if (line.startsWith('data: ')) this.hear(JSON.parse(line.slice(6)))
    else if (line.startsWith(':')) this.say({ type: 'heartbeat' })
  }

  private hear(frame: Json): void {
    if (frame.type === 'ready') {
      if (!this.ready) this.say({ type: 'ready' })
      this.ready = true
      for (const [name, one] of this.subscriptions) this.answer(name, one, frame.missing ?? [])
      return
    }
    const feed = frame.type === 'feed'
    for (const [name, one] of this.subscriptions) {
      if (one.thread !== (feed ? undefined : frame.thread_id)) continue
      if (frame.type === 'subscription.ended') this.subscriptions.delete(name)
      else if (!feed && frame.seq <= one.since) continue // another tab is further behind
      else one.since = feed ? frame.cursor : frame.seq
      this.say({ ...frame, subscription_id: name })
    }
  }

  private answer(name: string, one: Subscription, missing: string[]): void {
    const gone = one.thread !== undefined && missing.includes(one.thread)
    if (gone) this.subscriptions.delete(name)
    if (one.answered) {
      if (gone) this.say({ type: 'subscription.ended', subscription_id: name })
      return
    }
    one.answered = true
    this.say(gone ? { type: 'error', id: one.command } : { type: 'success', id: one.command, result: { subscription_id: name } })
  }

  private say(frame: Json): void {
    this.onmessage?.({ data: JSON.stringify(frame) })
  }
}

async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    if (!value.includes('\n')) {
      rest += value
      continue
    }
    const parts = (rest + value).split('\n')
    rest = parts.pop()!
    yield* parts
  }
}
