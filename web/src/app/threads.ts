/** Threads that are looked at: what is kept here at once, then what the server says, then every event. */

import { computed, effect, signal, type Signal } from '@preact/signals'
import { tab } from '../core/keeper.ts'
import { apply, EMPTY, type View } from '../core/view.ts'
import type { Envelope, QueuedRun, Snapshot } from '../core/wire.ts'
import { api, ApiError, passes } from './api.ts'
import { cache, connection, link } from './connection.ts'
import { lettersOf } from './letters.ts'
import { current, route } from './route.ts'
import { row, rows, setRows } from './rows.ts'

export interface Thread {
  view: View
  queue: QueuedRun[]
  title: string | null
  /** `empty`: not asked yet. `cached`: as this browser saw it last. `live`: as it is. `new`: not on the server yet. */
  known: 'empty' | 'cached' | 'live' | 'new' | 'gone'
  cachedAt: number | null
}

interface Kept {
  thread: Thread
  at: number
}

const LEFT = 'threadmill.left'
const NOTHING: Thread = { view: EMPTY, queue: [], title: null, known: 'empty', cachedAt: null }
const FOLLOWED = 12 // threads that stay live after one looked away
const CACHED = 20

const threads = new Map<string, Signal<Thread>>()
const following = new Map<string, () => void>() // in the order they were looked at
const pending = new Map<string, Envelope[]>()
let frame = 0

export function thread(id: string): Signal<Thread> {
  let known = threads.get(id)
  if (known === undefined) threads.set(id, (known = signal(NOTHING)))
  return known
}

/** Of the thread that is shown: the list may come later than the thread itself, or than what is kept of it. */
export const title = computed(() => (row.value ?? thread(current.value).value).title)

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
    const kept = left(id) ?? (await cache.get<Kept>(`thread:${id}`))
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
    thread(other).value = NOTHING
  }
}

/** The thread as it is now; whether it is there. */
export async function refresh(id: string): Promise<boolean> {
  const now = thread(id)
  try {
    const { thread: told, queue, messages: _, ...view } = await api<Snapshot>(`threads/${id}/snapshot?messages=false`)
    if (now.value.known !== 'live' || view.cursor >= now.value.view.cursor) {
      now.value = { view, queue, title: told.title, known: 'live', cachedAt: null }
      keep(id)
    }
    if (!rows.peek().has(id)) setRows([told])
    return true
  } catch (error) {
    const missing = error instanceof ApiError && (error.status === 404 || error.status === 422)
    if (missing) now.value = { ...now.value, known: lettersOf(id).length || route.value.fresh ? 'new' : 'gone' }
    else if (passes(error)) void retryLater(id)
    return false
  }
}

const waiting = new Set<string>()

async function retryLater(id: string): Promise<void> {
  if (waiting.has(id)) return
  waiting.add(id)
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, 3000)
    const before = link.peek()
    const end = effect(() => {
      if (link.value !== before && link.value.phase === 'open') queueMicrotask(done)
    })
    function done(): void {
      clearTimeout(timer)
      end()
      resolve()
    }
  })
  waiting.delete(id)
  if (following.has(id)) void refresh(id)
  else if (current.value === id) void follow(id)
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
  }
  pending.clear()
}

document.addEventListener('visibilitychange', () => {
  if (pending.size && !document.hidden) flush()
})

const keeping = new Map<string, number>()

function keep(id: string): void {
  const soon = thread(id).peek().view.in_flight === null ? 0 : 500 // what has ended may be the last that this page hears
  clearTimeout(keeping.get(id))
  keeping.set(
    id,
    window.setTimeout(() => {
      keeping.delete(id)
      void write(id)
    }, soon),
  )
}

async function write(id: string): Promise<void> {
  const now = thread(id).peek()
  if (now.known !== 'live') return
  await cache.put(`thread:${id}`, { thread: now, at: Date.now() })
  const last = ((await cache.get<string[]>('lately')) ?? []).filter((one) => one !== id)
  for (const old of last.splice(CACHED - 1)) await cache.delete(`thread:${old}`)
  await cache.put('lately', [id, ...last])
}

// What a reload shows at once is no less than what was there. What IndexedDB is given now would come too late.
addEventListener('pagehide', () => {
  flush()
  const now = thread(current.peek()).peek()
  if (now.known !== 'live' || now.view.in_flight === null) return
  tab.set(LEFT, JSON.stringify({ id: current.peek(), thread: now, at: Date.now() }))
})

function left(id: string): Kept | undefined {
  const kept = tab.read<(Kept & { id: string }) | null>(LEFT, null)
  tab.set(LEFT, null)
  return kept?.id === id ? kept : undefined
}

/** It is not there any more. */
export function forget(id: string): void {
  following.get(id)?.()
  following.delete(id)
  if (threads.has(id)) thread(id).value = { ...NOTHING, known: 'gone' }
}

export const followed = (id: string): boolean => following.has(id)

export async function requeue(id: string): Promise<void> {
  try {
    const queue = await api<QueuedRun[]>(`threads/${id}/queue`)
    thread(id).value = { ...thread(id).value, queue }
  } catch {
    // the list or the connection will tell
  }
}

export function read(id: string): Promise<unknown> {
  return api(`threads/${id}/read`, { method: 'PUT', body: {} }).catch(() => {})
}
