/** The list feed: keeps the rows, and tells of threads that are looked at what is no event of theirs. */

import { messages } from '../core/view.ts'
import type { Json, Row } from '../core/wire.ts'
import { cache, connection } from './connection.ts'
import { current } from './route.ts'
import { gathered, listKnown, rows } from './rows.ts'
import { follow, followed, forget, read, refresh, requeue, thread } from './threads.ts'

let storing = 0

/** From what this browser kept of the list at once, then from what the server says. */
export async function feed(): Promise<void> {
  const kept = await cache.get<{ rows: Row[] }>('list')
  if (kept && listKnown.value === null) {
    rows.value = new Map(kept.rows.map((one) => [one.thread_id, one]))
    listKnown.value = 'cached'
  }
  connection.watch(undefined, 0, { frame: take, gone: () => {} })
}

function take(frame: Json): void {
  const next = gathered(store)
  if (frame.event === 'resync') {
    next.clear()
    return
  }
  const id: string = frame.data.thread_id
  if (frame.event === 'deleted') {
    next.delete(id)
    forget(id)
  } else {
    next.set(id, frame.data)
    noticed(frame.data)
  }
}

function store(): void {
  clearTimeout(storing)
  storing = window.setTimeout(() => {
    void cache.put('list', { rows: [...rows.peek().values()], at: Date.now() })
  }, 800)
}

/** The list tells what is no event: a thread that was begun, changed by hand, or whose queue moved. */
function noticed(told: Row): void {
  const id = told.thread_id
  if (!followed(id)) {
    if (id === current.value) void follow(id)
    return
  }
  if (told.status !== 'idle' || thread(id).value.queue.length) void requeue(id)
  const { view, known } = thread(id).value
  const changed = messages(view).length !== told.message_count
  if (known === 'live' && told.status !== 'running' && view.in_flight === null && changed) void refresh(id)
  if (id === current.value && told.unread && !document.hidden) void read(id)
}
