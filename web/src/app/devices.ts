/** Drafts on their way to the other devices of the same person, and from them. What this browser keeps comes first: it
 * needs no connection, and what is typed here is never written over. */

import { effect, signal, untracked } from '@preact/signals'
import { joined, light, merged, same, sizeOf, taken, toKeep, type Kept } from '../core/drafts.ts'
import { api, ApiError } from './api.ts'
import { link } from './connection.ts'
import { device, own, setBase, take, touched, unsaved } from './drafts.ts'
import { lettersOf } from './letters.ts'
import { route } from './route.ts'
import { rows } from './rows.ts'

const PAUSE = 1000 // ms; more for pictures, which go as a whole each time
const BYTES = 1000 // in a further ms

/** What another device has written meanwhile, where this one has, too. */
export const others = signal<ReadonlyMap<string, Kept>>(new Map())

const timers = new Map<string, number>()
const working = new Map<string, Promise<void>>()
const waiting = new Set<string>()

/** This browser's and the server's become the same, one step after the other. */
function sync(id: string): void {
  clearTimeout(timers.get(id))
  timers.delete(id)
  if (waiting.has(id)) return
  waiting.add(id)
  const before = working.get(id) ?? Promise.resolve()
  const done = before.then(async () => {
    waiting.delete(id)
    await step(id).catch(() => {}) // it is tried again when one comes back to it, or to the network
  })
  working.set(id, done)
}

async function step(id: string): Promise<void> {
  const { draft, base } = await own(id)
  const path = `threads/${id}/draft`
  if (!base.changed) return settle(id, await api<Kept>(path))
  const content = toKeep(draft)
  try {
    const keepalive = document.hidden && light(content)
    const made = content.length
      ? await api<{ revision: string }>(path, { method: 'PUT', body: { content, revision: base.revision, device }, keepalive })
      : await api<null>(`${path}?revision=${base.revision}`, { method: 'DELETE', keepalive: true })
    setBase(id, { revision: made?.revision ?? '', changed: !same(content, toKeep((await own(id)).draft)) })
    ask(id, null)
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    if (error.status === 409) await settle(id, await api<Kept>(path))
    else if (error.status === 404 && !lettersOf(id).length) setBase(id, { changed: false }) // the thread was deleted
  }
}

async function settle(id: string, theirs: Kept): Promise<void> {
  const { draft, base } = await own(id)
  const revision = theirs.revision ?? ''
  const what = merged(draft, base, theirs, device)
  ask(id, what === 'ask' ? theirs : null)
  if (what === 'take') take(id, taken(draft, theirs))
  if (what === 'put') {
    setBase(id, { revision })
    void later(id)
  } else if (what !== 'ask' && (base.changed || base.revision !== revision)) setBase(id, { revision, changed: false })
}

function ask(id: string, theirs: Kept | null): void {
  if (theirs === null && !others.peek().has(id)) return
  const left = [...others.peek()].filter(([one]) => one !== id)
  others.value = new Map(theirs === null ? left : [...left, [id, theirs]])
}

/** A person has chosen: both, or only what is here. */
export async function choose(id: string, both: boolean): Promise<void> {
  const theirs = others.peek().get(id)
  if (theirs === undefined) return
  if (both) take(id, joined((await own(id)).draft, theirs))
  setBase(id, { revision: theirs.revision ?? '', changed: true })
  ask(id, null)
  sync(id)
}

/** After a pause; at once what was sent, and what is left. */
async function later(id: string): Promise<void> {
  clearTimeout(timers.get(id))
  timers.delete(id)
  const content = toKeep((await own(id)).draft)
  clearTimeout(timers.get(id))
  if (!content.length) sync(id)
  else timers.set(id, window.setTimeout(() => sync(id), PAUSE + sizeOf(content) / BYTES))
}

export function follow(): void {
  let last: string | null = null
  const look = () => {
    const { thread: id, fresh } = route.peek()
    const begun = lettersOf(id).length > 0 && !rows.peek().has(id) // the server does not have it yet
    if (!fresh && !begun) sync(id)
  }
  effect(() => {
    const { thread: id } = route.value
    untracked(() => {
      if (last !== null && last !== id && timers.has(last)) sync(last)
      last = id
      look()
    })
  })
  effect(() => {
    const one = touched.value
    if (one) untracked(() => void later(one.thread))
  })
  effect(() => {
    if (link.value.phase === 'open') void unsaved().then((list) => list.forEach(sync))
  })
  addEventListener('focus', look)
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) [...timers.keys()].forEach(sync)
    else look()
  })
}
