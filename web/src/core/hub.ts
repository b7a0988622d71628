/** One WebSocket for all tabs of a browser: who watches which thread, from which event on, through any number of cuts.
 *
 * A watch is a cursor. Each frame moves it, so what was cut goes on where it was: nothing twice, nothing left out. Where a
 * WebSocket does not get through, every other try is to be a stream in its place.
 */

import type { Json } from './wire.ts'

export interface Watch {
  id: string
  /** None: the list feed. */
  thread?: string
  since: number
}

export interface LinkState {
  phase: 'connecting' | 'open' | 'waiting' | 'refused'
  /** Of a cut: which try comes next, and when (ms since 1970). */
  tries: number
  retryAt: number | null
}

export type Told =
  | { type: 'frame'; watch: string; frame: Json }
  /** The thread is not there (any more), or is not the caller's. */
  | { type: 'gone'; watch: string }
  | { type: 'state'; state: LinkState }

/** As much of a WebSocket as the hub needs. */
export interface Socket {
  send(text: string): void
  close(code?: number): void
  onopen: ((event: any) => void) | null
  onmessage: ((event: any) => void) | null
  onclose: ((event: any) => void) | null
}

export interface Clock {
  now(): number
  later(run: () => void, ms: number): unknown
  cancel(timer: unknown): void
  random(): number
}

export const CLOCK: Clock = {
  now: () => Date.now(),
  later: (run, ms) => setTimeout(run, ms),
  cancel: (timer) => clearTimeout(timer as number),
  random: () => Math.random(),
}

const FIRST_MS = 500
const LONGEST_MS = 15_000
const PING_MS = 20_000
const SILENCE_MS = 8_000 // after a ping: then the connection is one that only seems to be there
const PATIENT = 4 // tries with a WebSocket only, where one got through before
export const UNAUTHORIZED = 4401

interface Held extends Watch {
  subscription?: string | undefined
}

export class Hub {
  private socket: Socket | null = null
  private token: string | null = null
  private readonly watches = new Map<string, Held>()
  private readonly asked = new Map<number, string>() // commands that begin a watch
  private readonly names = new Map<string, string>() // subscription: watch
  private commands = 0
  private state: LinkState = { phase: 'connecting', tries: 0, retryAt: null }
  private retry: unknown = null
  private pulse: unknown = null
  private ready = false
  private streamed = false
  private through = false // the last one that got through was a WebSocket
  private readonly connect: (streamed: boolean) => Socket
  private readonly tell: (told: Told) => void
  private readonly clock: Clock

  constructor(connect: (streamed: boolean) => Socket, tell: (told: Told) => void, clock: Clock = CLOCK) {
    this.connect = connect
    this.tell = tell
    this.clock = clock
  }

  get current(): LinkState {
    return this.state
  }

  start(token: string | null): void {
    if (this.socket !== null && token === this.token) return
    this.token = token
    this.open()
  }

  watch(watch: Watch): void {
    this.unwatch(watch.id)
    this.watches.set(watch.id, { ...watch })
    if (this.ready) this.ask(watch.id)
  }

  unwatch(id: string): void {
    const held = this.watches.get(id)
    this.watches.delete(id)
    if (held?.subscription === undefined) return
    this.names.delete(held.subscription)
    if (this.ready) this.command('subscription.unsubscribe', { subscription_id: held.subscription })
  }

  /** The machine is online again, or somebody looks: no more waiting. */
  wake(): void {
    if (this.state.phase === 'waiting') this.open()
    else if (this.state.phase === 'open') this.ping()
  }

  private open(): void {
    this.drop()
    this.move({ phase: 'connecting', tries: this.state.tries, retryAt: null })
    const { tries } = this.state
    this.streamed = tries > (this.through ? PATIENT : 0) && tries % 2 === 1
    let socket: Socket
    try {
      socket = this.connect(this.streamed)
    } catch {
      this.wait()
      return
    }
    this.socket = socket
    this.pulse = this.clock.later(() => this.lost(socket, 0), LONGEST_MS)
    socket.onopen = () => {
      // Said first of all: a browser cannot send headers, and the server waits for it.
      if (this.token !== null) this.command('auth', { token: this.token })
    }
    socket.onmessage = (event) => this.hear(JSON.parse(String(event.data)))
    socket.onclose = (event) => this.lost(socket, Number(event?.code ?? 0))
  }

  private drop(): void {
    this.clock.cancel(this.retry)
    this.clock.cancel(this.pulse)
    this.ready = false
    this.asked.clear()
    this.names.clear()
    for (const held of this.watches.values()) held.subscription = undefined
    const old = this.socket
    this.socket = null
    if (old === null) return
    old.onopen = old.onmessage = old.onclose = null
    old.close()
  }

  private lost(socket: Socket, code: number): void {
    if (socket !== this.socket) return
    this.drop()
    if (code === UNAUTHORIZED) this.move({ phase: 'refused', tries: 0, retryAt: null })
    else this.wait()
  }

  private wait(): void {
    const tries = this.state.tries + 1
    const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** (tries - 1))
    const ms = longest * (0.5 + this.clock.random() / 2)
    this.move({ phase: 'waiting', tries, retryAt: this.clock.now() + ms })
    this.retry = this.clock.later(() => this.open(), ms)
  }

  private move(state: LinkState): void {
    this.state = state
    this.tell({ type: 'state', state })
  }

  private hear(frame: Json): void {
    this.rest()
    if (frame.type === 'ready') {
      this.ready = true
      this.through = !this.streamed
      this.move({ phase: 'open', tries: 0, retryAt: null })
      for (const id of this.watches.keys()) this.ask(id)
    } else if (frame.type === 'success' || frame.type === 'error') {
      this.answered(frame)
    } else if (frame.subscription_id !== undefined) {
      this.told(frame)
    }
  }

  private answered(frame: Json): void {
    const id = this.asked.get(frame.id)
    this.asked.delete(frame.id)
    const held = id === undefined ? undefined : this.watches.get(id)
    if (frame.type === 'success') {
      const name: string | undefined = frame.result?.subscription_id
      if (id === undefined || name === undefined) return
      if (held === undefined || held.subscription !== undefined) {
        this.command('subscription.unsubscribe', { subscription_id: name }) // unwatched before it began
        return
      }
      held.subscription = name
      this.names.set(name, id)
      if (held.thread === undefined) held.since = Math.max(held.since, 0)
    } else if (held !== undefined && id !== undefined) {
      this.watches.delete(id)
      this.tell({ type: 'gone', watch: id })
    }
  }

  private told(frame: Json): void {
    const id = this.names.get(frame.subscription_id)
    const held = id === undefined ? undefined : this.watches.get(id)
    if (held === undefined || id === undefined) return
    if (frame.type === 'subscription.ended') {
      this.names.delete(frame.subscription_id)
      this.watches.delete(id)
      this.tell({ type: 'gone', watch: id })
      return
    }
    held.since = Math.max(held.since, Number(held.thread === undefined ? frame.cursor : frame.seq))
    this.tell({ type: 'frame', watch: id, frame })
  }

  private ask(id: string): void {
    const { thread, since } = this.watches.get(id)!
    const number =
      thread === undefined
        ? this.command('feed.subscribe', { since })
        : this.command('subscription.subscribe', { thread_id: thread, since })
    this.asked.set(number, id)
  }

  private command(method: string, params: Json): number {
    this.commands += 1
    this.socket?.send(JSON.stringify({ id: this.commands, method, params }))
    return this.commands
  }

  private rest(): void {
    this.clock.cancel(this.pulse)
    this.pulse = this.clock.later(() => this.ping(), PING_MS)
  }

  private ping(): void {
    const socket = this.socket
    if (socket === null) return
    this.clock.cancel(this.pulse)
    this.command('ping', {})
    this.pulse = this.clock.later(() => this.lost(socket, 0), SILENCE_MS)
  }
}
