/** What one has begun to write, and the pictures that are to go with it, per conversation: kept in this browser, the same
 * in all its tabs. */

import { signal, type Signal } from '@preact/signals'
import type { Picture } from '../core/pictures.ts'
import { BASE } from './api.ts'
import { cache } from './connection.ts'

interface Drafts<T> {
  of(id: string): Signal<T>
  write(id: string, value: T): void
}

function drafts<T extends { length: number }>(kind: string, nothing: T): Drafts<T> {
  const all = new Map<string, Signal<T>>()
  const channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel(`threadmill-${kind}s${BASE.pathname}`)

  function of(id: string): Signal<T> {
    let known = all.get(id)
    if (known === undefined) {
      all.set(id, (known = signal(nothing)))
      const found = known
      void cache.get<T>(`${kind}:${id}`).then((kept) => {
        if (kept?.length && !found.value.length) found.value = kept
      })
    }
    return known
  }

  function write(id: string, value: T): void {
    of(id).value = value
    void (value.length ? cache.put(`${kind}:${id}`, value) : cache.delete(`${kind}:${id}`))
    channel?.postMessage({ id, value })
  }

  if (channel) channel.onmessage = ({ data }) => (of(data.id).value = data.value)
  return { of, write }
}

const texts = drafts<string>('draft', '')
const pictures = drafts<readonly Picture[]>('picture', [])

export const { of: draft, write } = texts
export const { of: attached, write: attach } = pictures
