/** What one has begun to write, and the pictures that are to go with it, per conversation: kept in this browser, the same
 * in all its tabs. Of conversations that have no message yet one draft is kept, the newest, for the next one. */

import { signal, type Signal } from '@preact/signals'
import type { Base, Draft } from '../core/drafts.ts'
import type { Picture } from '../core/pictures.ts'
import { browser } from '../core/keeper.ts'
import { BASE, newId } from './api.ts'
import { cache } from './connection.ts'
import { route } from './route.ts'

interface Drafts<T> {
  of(id: string): Signal<T>
  write(id: string, value: T): void
  loaded(id: string): Promise<void>
}

const fresh = (id: string): boolean => route.peek().fresh && route.peek().thread === id

function drafts<T>(kind: string, nothing: T, empty: (value: T) => boolean): Drafts<T> {
  const all = new Map<string, { value: Signal<T>; loaded: Promise<void> }>()
  const channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel(`threadmill-${kind}s${BASE.pathname}`)

  const key = (id: string): string => `${kind}:${fresh(id) ? 'new' : id}`

  function known(id: string): { value: Signal<T>; loaded: Promise<void> } {
    let one = all.get(id)
    if (one === undefined) {
      const value = signal(nothing)
      const loaded = cache.get<T>(key(id)).then((kept) => {
        if (kept !== undefined && empty(value.value)) value.value = kept
      })
      all.set(id, (one = { value, loaded }))
    }
    return one
  }

  function write(id: string, value: T): void {
    known(id).value.value = value
    void (empty(value) ? cache.delete(key(id), true) : cache.put(key(id), value))
    if (!fresh(id)) channel?.postMessage({ id, value })
  }

  if (channel) channel.onmessage = ({ data }) => (known(data.id).value.value = data.value)
  return { of: (id) => known(id).value, write, loaded: (id) => known(id).loaded }
}

const texts = drafts<string>('draft', '', (text) => !text)
const pictures = drafts<readonly Picture[]>('picture', [], (list) => !list.length)
const bases = drafts<Base>('base', { thread: '', revision: '', changed: false }, (one) => !one.revision && !one.changed)

export const draft = texts.of
export const attached = pictures.of

const DEVICE = 'threadmill.device'

/** The name of this browser, with which the revisions begin that it makes. */
export const device = browser.get(DEVICE) ?? newId()
browser.set(DEVICE, device)

/** The conversation whose draft a person has just changed here. */
export const touched = signal<{ thread: string } | null>(null)

export function write(id: string, text: string): void {
  texts.write(id, text)
  touch(id)
}

export function attach(id: string, list: readonly Picture[]): void {
  pictures.write(id, list)
  touch(id)
}

function touch(id: string): void {
  if (fresh(id)) return
  void bases.loaded(id).then(() => setBase(id, { changed: true }))
  touched.value = { thread: id }
}

/** When it is read from what this browser keeps. */
export async function own(id: string): Promise<{ draft: Draft; base: Base }> {
  await Promise.all([texts.loaded(id), pictures.loaded(id), bases.loaded(id)])
  return { draft: { text: draft(id).peek(), pictures: attached(id).peek() }, base: bases.of(id).peek() }
}

/** Of another device. */
export function take(id: string, draft: Draft): void {
  texts.write(id, draft.text)
  pictures.write(id, draft.pictures)
}

export function setBase(id: string, change: Partial<Base>): void {
  bases.write(id, { ...bases.of(id).peek(), ...change, thread: id })
}

/** Those that were changed here and are not on the server yet. */
export async function unsaved(): Promise<string[]> {
  return (await cache.all<Base>('base:')).filter((one) => one.changed).map((one) => one.thread)
}
