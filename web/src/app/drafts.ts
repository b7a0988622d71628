/** What one has begun to write, and the pictures that are to go with it, per conversation: kept in this browser, the same
 * in all its tabs. Of conversations that have no message yet one draft is kept, the newest, for the next one. */

import { signal, type Signal } from '@preact/signals'
import type { Picture } from '../core/pictures.ts'
import { BASE } from './api.ts'
import { cache } from './connection.ts'
import { route } from './route.ts'

interface Drafts<T> {
  of(id: string): Signal<T>
  write(id: string, value: T): void
}

const fresh = (id: string): boolean => route.peek().fresh && route.peek().thread === id

function drafts<T extends { length: number }>(kind: string, nothing: T): Drafts<T> {
  const all = new Map<string, Signal<T>>()
  const channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel(`threadmill-${kind}s${BASE.pathname}`)

  const key = (id: string): string => `${kind}:${fresh(id) ? 'new' : id}`

  function of(id: string): Signal<T> {
    let known = all.get(id)
    if (known === undefined) {
      all.set(id, (known = signal(nothing)))
      const found = known
      void cache.get<T>(key(id)).then((kept) => {
        if (kept?.length && !found.value.length) found.value = kept
      })
    }
    return known
  }

  function write(id: string, value: T): void {
    of(id).value = value
    void (value.length ? cache.put(key(id), value) : cache.delete(key(id)))
    if (!fresh(id)) channel?.postMessage({ id, value })
  }

  if (channel) channel.onmessage = ({ data }) => (of(data.id).value = data.value)
  return { of, write }
}

const texts = drafts<string>('draft', '')
const pictures = drafts<readonly Picture[]>('picture', [])

export const { of: draft, write } = texts
export const { of: attached, write: attach } = pictures
