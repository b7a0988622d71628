/** Messages on their way: each keeps its id until the server has it, and sending it again is the same message.
 *
 * The id of the message is its `Idempotency-Key` too, so a request whose answer was lost makes no second run.
 */

import { messages, type View } from './view.ts'
import type { Json, QueuedRun } from './wire.ts'

export interface Letter {
  /** Of the message, made here. */
  id: string
  thread: string
  /** The body of the run. */
  body: Json
  /** Its text, as the page shows it until the server does. */
  text: string
  at: number
  /** `new`: not kept by the browser yet. `waiting`: to be sent, perhaps again; a reload does not lose it. `sent`: the
   * server has it. `failed`: it refused it, for `reason`. */
  state: 'new' | 'waiting' | 'sent' | 'failed'
  /** It is said to the run that is under way, if one still is when it is sent; else it begins one. */
  steers?: boolean
  run?: string
  reason?: string
}

export interface Post {
  (letter: Letter): Promise<{ run: string } | { refused: string } | { later: true }>
}

export interface Kept {
  all<T>(prefix: string): Promise<T[]>
  put(key: string, value: unknown, surely?: boolean): Promise<void>
  delete(key: string): Promise<void>
}

const PREFIX = 'outbox:'
/** After so long the run of a letter is known to a page that is connected; if it is not, it is gone. */
export const LATE_MS = 30_000

/** Whether the thread shows it: as a message, or in the queue, where what was to join an answer waits when that was stopped. */
export function settled(letter: Letter, view: View, queue: readonly QueuedRun[], now: number): boolean {
  if (messages(view).some((one) => one.id === letter.id)) return true
  const active = view.in_flight?.run_id === letter.run || queue.some((one) => one.run_id === letter.run)
  if (letter.state !== 'sent' || letter.run === undefined || active) return false
  if (letter.steers && queue.some((one) => one.paused && one.status === 'pending')) return true
  return view.in_flight === null && now - letter.at >= LATE_MS
}

export class Outbox {
  private letters: Letter[] = []
  private readonly busy = new Set<string>()
  /** Ids of those that were written here. */
  private readonly own = new Set<string>()
  private readonly gone = new Set<string>()
  private readonly kept: Kept
  private readonly post: Post
  private readonly changed: (letters: Letter[]) => void

  constructor(kept: Kept, post: Post, changed: (letters: Letter[]) => void) {
    this.kept = kept
    this.post = post
    this.changed = changed
  }

  /** Takes what this browser keeps, also of tabs that are gone. One that is not sends the same, and it is the same message. */
  async load(): Promise<void> {
    const found = await this.kept.all<Letter>(PREFIX)
    const others = found.filter((one) => !this.own.has(one.id) && !this.gone.has(one.id))
    this.letters = [...others, ...this.letters.filter((one) => this.own.has(one.id))].sort((a, b) => a.at - b.at)
    this.changed(this.letters)
  }

  async add(letter: Omit<Letter, 'state'>): Promise<void> {
    this.own.add(letter.id)
    this.letters = [...this.letters, { ...letter, state: 'new' }]
    this.changed(this.letters)
    await this.kept.put(PREFIX + letter.id, { ...letter, state: 'waiting' }, true) // before it is sent: a reload in between loses nothing
    this.show(letter.id, { state: 'waiting' })
    await this.flush()
  }

  /** Sends what waits, thread by thread, each in its order. */
  async flush(): Promise<void> {
    const threads = new Set(this.letters.filter((one) => one.state === 'waiting').map((one) => one.thread))
    await Promise.all([...threads].map((thread) => this.drain(thread)))
  }

  async retry(id: string): Promise<void> {
    this.change(id, { state: 'waiting' })
    await this.flush()
  }

  async drop(id: string): Promise<void> {
    this.gone.add(id)
    this.letters = this.letters.filter((one) => one.id !== id)
    this.changed(this.letters)
    await this.kept.delete(PREFIX + id)
  }

  private async drain(thread: string): Promise<void> {
    if (this.busy.has(thread)) return
    this.busy.add(thread)
    try {
      for (;;) {
        const next = this.letters.find((one) => one.thread === thread && one.state === 'waiting')
        if (next === undefined) return
        const answer = await this.post(next)
        if ('later' in answer) return
        if ('run' in answer) this.change(next.id, { state: 'sent', run: answer.run })
        else this.change(next.id, { state: 'failed', reason: answer.refused })
      }
    } finally {
      this.busy.delete(thread)
    }
  }

  private show(id: string, what: Partial<Letter>): void {
    this.letters = this.letters.map((one) => (one.id === id ? { ...one, ...what } : one))
    this.changed(this.letters)
  }

  private change(id: string, what: Partial<Letter>): void {
    this.show(id, what)
    const now = this.letters.find((one) => one.id === id)
    if (now !== undefined) void this.kept.put(PREFIX + id, now)
  }
}
