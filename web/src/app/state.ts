/** What the page knows, as signals. It is all the server's: reloading at any moment loses nothing. */

import { computed, effect, signal, untracked, type Signal } from '@preact/signals'
import { Cache } from '../core/cache.ts'
import type { LinkState } from '../core/hub.ts'
import { Link } from '../core/link.ts'
import { Outbox, type Letter } from '../core/outbox.ts'
import { apply, EMPTY, messages, type View } from '../core/view.ts'
import type { Envelope, Json, QueuedRun, Row, Snapshot } from '../core/wire.ts'
import { api, ApiError, BASE, newId, refused, token } from './api.ts'
import { current, open, route } from './route.ts'

export interface Thread {
  view: View
  queue: QueuedRun[]
  /** `empty`: not asked yet. `cached`: as this browser saw it last. `live`: as it is. `new`: not on the server yet. */
  known: 'empty' | 'cached' | 'live' | 'new' | 'gone'
  cachedAt: number | null
}

const NOTHING: Thread = { view: EMPTY, queue: [], known: 'empty', cachedAt: null }
const FOLLOWED = 12 // threads that stay live after one looked away
const CACHED = 20
const MODES = ['values', 'messages-tuple', 'custom']

export const link = signal<LinkState>({ phase: 'connecting', tries: 0, retryAt: null })
export const rows = signal<ReadonlyMap<string, Row>>(new Map())
/** Whether the list is the server's, or (null) nothing is known yet. */
export const listKnown = signal<'cached' | 'live' | null>(null)
/** Hidden until their undo has passed. */
export const hidden = signal<ReadonlySet<string>>(new Set())
export const letters = signal<readonly Letter[]>([])
export const assistants = signal<Json[]>([])
export const assistant = signal<string | null>(null)
/** The browser keeps nothing: a private window, or no room. */
export const cacheBroken = signal(false)

export const cache = new Cache(`threadmill${BASE.pathname}${fingerprint(token.value)}`, () => (cacheBroken.value = true))
const threads = new Map<string, Signal<Thread>>()
const following = new Map<string, () => void>() // in the order they were looked at
const pending = new Map<string, Envelope[]>()
let feedCursor = 0
let frame = 0

const socketUrl = new URL('ws', BASE)
socketUrl.protocol = BASE.protocol.replace('http', 'ws')
const connection = new Link(
  socketUrl.href,
  `threadmill-tab-${newId()}`,
  () => new SharedWorker(new URL('../core/worker.ts', import.meta.url), { type: 'module', name: BASE.pathname }),
  (state) => {
    const came = state.phase === 'open' && link.value.phase !== 'open'
    link.value = state
    if (state.phase === 'refused') refused.value = true
    if (came) void outbox.flush()
  },
)

export const outbox = new Outbox(cache, post, (now) => (letters.value = now))

/** Caches of one user are not shown to another who logs in here. */
function fingerprint(text: string | null): string {
  let hash = 0
  for (const one of text ?? '') hash = (Math.imul(hash, 31) + one.codePointAt(0)!) | 0
  return text ? `#${(hash >>> 0).toString(36)}` : ''
}

export function thread(id: string): Signal<Thread> {
  let known = threads.get(id)
  if (known === undefined) threads.set(id, (known = signal(NOTHING)))
  return known
}

export const row = computed(() => rows.value.get(current.value ?? '') ?? null)
export const lettersOf = (id: string): Letter[] => letters.value.filter((one) => one.thread === id)

// Following threads

/** Show it: what is kept here at once, then what the server says, then every event. */
export async function follow(id: string): Promise<void> {
  const stop = following.get(id)
  if (stop !== undefined) {
    following.delete(id)
    following.set(id, stop)
    return
  }
  following.set(id, () => {})
  const now = thread(id)
  if (now.value.known === 'empty') {
    const kept = await cache.get<{ thread: Thread; at: number }>(`thread:${id}`)
    if (kept && now.value.known === 'empty') now.value = { ...kept.thread, known: 'cached', cachedAt: kept.at }
  }
  if (!(await refresh(id))) {
    following.delete(id)
    return
  }
  if (!following.has(id)) return
  following.set(
    id,
    connection.watch(id, now.value.view.cursor, {
      frame: (envelope: Envelope) => take(id, envelope),
      gone: () => {
        following.delete(id)
        if (!rows.value.has(id)) now.value = { ...now.value, known: 'gone' }
      },
    }),
  )
  for (const [other, end] of following) {
    if (following.size <= FOLLOWED) break
    if (other === current.value) continue
    end()
    following.delete(other)
    threads.delete(other)
  }
}

/** The thread as it is now; whether it is there. */
export async function refresh(id: string): Promise<boolean> {
  const now = thread(id)
  try {
    const { thread: told, queue, messages: _, ...view } = await api<Snapshot>(`threads/${id}/snapshot`)
    if (now.value.known !== 'live' || view.cursor >= now.value.view.cursor) {
      now.value = { view, queue, known: 'live', cachedAt: null }
      settle(id)
      keep(id)
    }
    if (!rows.peek().has(id)) setRow(told)
    return true
  } catch (error) {
    const missing = error instanceof ApiError && (error.status === 404 || error.status === 422)
    if (missing) now.value = { ...now.value, known: lettersOf(id).length || route.value.fresh ? 'new' : 'gone' }
    else if (!(error instanceof ApiError)) void retryLater(id)
    return false
  }
}

const waiting = new Set<string>()

async function retryLater(id: string): Promise<void> {
  if (waiting.has(id)) return
  waiting.add(id)
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, 3000)
    const end = effect(() => {
      if (link.value.phase === 'open') queueMicrotask(done)
    })
    function done(): void {
      clearTimeout(timer)
      end()
      resolve()
    }
  })
  waiting.delete(id)
  if (current.value === id) void follow(id)
}

/** Events are applied once for each frame that is painted, however many came. */
function take(id: string, envelope: Envelope): void {
  const held = pending.get(id)
  if (held) held.push(envelope)
  else pending.set(id, [envelope])
  if (frame) return
  frame = document.hidden ? setTimeout(flush, 100) : requestAnimationFrame(flush)
}

function flush(): void {
  frame = 0
  for (const [id, envelopes] of pending) {
    const now = thread(id)
    const before = now.value.view
    const view = envelopes.reduce(apply, before)
    now.value = { ...now.value, view }
    if (view.stale && !before.stale) void refresh(id)
    if (view.in_flight === null) keep(id)
    if (view.values !== before.values) settle(id)
  }
  pending.clear()
}

document.addEventListener('visibilitychange', () => {
  if (pending.size && !document.hidden) flush()
})

/** What the server shows itself needs no copy any more. */
function settle(id: string): void {
  const { view, queue } = thread(id).value
  const there = new Set(messages(view).map((one) => one.id))
  const active = new Set(queue.map((one) => one.run_id))
  const ended = view.in_flight === null
  for (const one of lettersOf(id)) {
    const lost = one.state === 'sent' && ended && one.run !== undefined && !active.has(one.run) && Date.now() - one.at > 30_000
    if (there.has(one.id) || lost) void outbox.drop(one.id)
  }
}

const keeping = new Map<string, number>()

function keep(id: string): void {
  const soon = thread(id).peek().view.in_flight === null ? 0 : 500 // what has ended may be the last that this page hears
  clearTimeout(keeping.get(id))
  keeping.set(
    id,
    window.setTimeout(async () => {
      keeping.delete(id)
      const now = thread(id).value
      if (now.known !== 'live') return
      const last = ((await cache.get<string[]>('lately')) ?? []).filter((one) => one !== id)
      await cache.put(`thread:${id}`, { thread: now, at: Date.now() })
      for (const old of last.splice(CACHED - 1)) await cache.delete(`thread:${old}`)
      await cache.put('lately', [id, ...last])
    }, soon),
  )
}

// The list

let storing = 0
let nextRows: Map<string, Row> | null = null

/** A list of thousands comes as thousands of frames: it is shown once for all that came together. */
function listed(frame: Json): void {
  feedCursor = frame.event === 'resync' ? 0 : Math.max(feedCursor, frame.cursor)
  if (nextRows === null) {
    nextRows = new Map(rows.peek())
    setTimeout(showRows, document.hidden ? 100 : 16)
  }
  if (frame.event === 'resync') {
    nextRows.clear()
    return
  }
  const id: string = frame.data.thread_id
  if (frame.event === 'deleted') {
    nextRows.delete(id)
    following.get(id)?.()
    following.delete(id)
    if (threads.has(id)) thread(id).value = { ...NOTHING, known: 'gone' }
  } else {
    nextRows.set(id, frame.data)
    noticed(frame.data)
  }
}

function showRows(): void {
  rows.value = nextRows ?? rows.peek()
  nextRows = null
  listKnown.value = 'live'
  clearTimeout(storing)
  storing = window.setTimeout(() => {
    void cache.put('list', { rows: [...rows.peek().values()], cursor: feedCursor, at: Date.now() })
  }, 800)
}

/** For what this page changes itself, before the list tells it. */
function setRow(row: Row): void {
  nextRows?.set(row.thread_id, row)
  rows.value = new Map(rows.peek()).set(row.thread_id, row)
}

/** The list tells what is no event: a thread that was begun, changed by hand, or whose queue moved. */
function noticed(told: Row): void {
  const id = told.thread_id
  if (!following.has(id)) {
    if (id === current.value) void follow(id)
    return
  }
  if (told.status !== 'idle' || thread(id).value.queue.length) void requeue(id)
  const { view } = thread(id).value
  const known = messages(view).length
  if (told.status !== 'running' && view.in_flight === null && known !== told.message_count) void refresh(id)
  if (id === current.value && told.unread && !document.hidden) void read(id)
}

export async function requeue(id: string): Promise<void> {
  try {
    const queue = await api<QueuedRun[]>(`threads/${id}/queue`)
    thread(id).value = { ...thread(id).value, queue }
    settle(id)
  } catch {
    // the list or the connection will tell
  }
}

export function read(id: string): Promise<unknown> {
  return api(`threads/${id}/read`, { method: 'PUT', body: {} }).catch(() => {})
}

// Doing things

/** A message of a person: on its way at once, sent as soon as it can be. */
export async function send(id: string, content: Json, text: string, more: Json = {}): Promise<void> {
  const message = newId()
  const from = leave(id)
  const body = {
    assistant_id: assistantOf(id),
    input: { messages: [{ type: 'human', id: message, content }] },
    if_not_exists: 'create',
    ...runOptions(),
    ...(from === null ? {} : { checkpoint_id: from }),
    ...more,
  }
  await outbox.add({ id: message, thread: id, body, text, at: Date.now(), state: 'waiting' })
}

/** Who says something at an earlier checkpoint goes on from it. */
function leave(id: string): string | null {
  const { thread: shown, at } = route.value
  if (shown !== id || at === null) return null
  open(id)
  return at
}

/** Another run on a thread: an answer, a retry, a fork. */
export async function run(id: string, body: Json): Promise<void> {
  leave(id)
  await api(`threads/${id}/runs`, { body: { assistant_id: assistantOf(id), ...runOptions(), ...body } })
  void follow(id)
}

export const runOptions = (): Json => ({ stream_mode: MODES, stream_subgraphs: true, stream_resumable: true })

export function assistantOf(id: string): string | null {
  return rows.value.get(id)?.metadata.assistant_id ?? assistant.value ?? assistants.value[0]?.assistant_id ?? null
}

async function post(letter: Letter): Promise<{ run: string } | { refused: string } | { later: true }> {
  const assistant_id = letter.body.assistant_id ?? assistantOf(letter.thread)
  if (assistant_id === null) return { later: true } // which there are is not known yet
  try {
    const body = { ...letter.body, assistant_id }
    const headers = { 'Idempotency-Key': letter.id }
    const made = await api<{ run_id: string }>(`threads/${letter.thread}/runs`, { body, headers })
    void follow(letter.thread)
    return { run: made.run_id }
  } catch (error) {
    if (!(error instanceof ApiError) || error.status >= 500 || error.status === 401) {
      setTimeout(() => void outbox.flush(), 4000)
      return { later: true }
    }
    return { refused: error.message }
  }
}

export function stop(id: string): Promise<unknown> {
  return api(`threads/${id}/stop`, { method: 'POST' }).catch((error: unknown) => {
    if (!(error instanceof ApiError && error.status === 404)) throw error
  })
}

export async function patch(id: string, change: Json): Promise<void> {
  const known = rows.value.get(id)
  if (known) {
    const metadata = { ...known.metadata, ...change.metadata }
    setRow({ ...known, ...change, metadata })
  }
  await api(`threads/${id}`, { method: 'PATCH', body: change, headers: { Prefer: 'return=minimal' } })
}

// The beginning

export async function start(): Promise<void> {
  addEventListener('online', () => connection.wake())
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return
    connection.wake()
    if (row.value?.unread) void read(row.value.thread_id)
  })
  effect(() => {
    const { thread: id, fresh } = route.value
    // What this tab has just begun is followed when the server has it.
    const begun = untracked(() => lettersOf(id).length > 0 && !rows.value.has(id))
    if (!fresh && !begun) untracked(() => void follow(id))
  })
  effect(() => {
    if (row.value?.unread && !document.hidden) void read(row.value.thread_id)
  })
  const kept = await cache.get<{ rows: Row[]; cursor: number }>('list')
  if (kept && listKnown.value === null) {
    rows.value = new Map(kept.rows.map((one) => [one.thread_id, one]))
    listKnown.value = 'cached'
  }
  connection.start(token.value)
  connection.watch(undefined, 0, { frame: listed, gone: () => {} })
  void outbox.load().then(() => outbox.flush())
  await loadAssistants()
}

export const wake = (): void => connection.wake()

export async function loadAssistants(): Promise<void> {
  try {
    assistants.value = await api<Json[]>('assistants/search', { body: { limit: 200, sort_by: 'name', sort_order: 'asc' } })
    listKnown.value ??= 'live'
    void outbox.flush()
  } catch {
    setTimeout(() => void loadAssistants(), 4000)
  }
}
