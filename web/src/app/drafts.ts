/** What one has begun to write, per conversation: kept in this browser, the same in all its tabs. */

import { signal, type Signal } from '@preact/signals'
import { BASE } from './api.ts'
import { cache } from './connection.ts'

const drafts = new Map<string, Signal<string>>()
const channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel(`threadmill-drafts${BASE.pathname}`)

export function draft(id: string): Signal<string> {
  let known = drafts.get(id)
  if (known === undefined) {
    drafts.set(id, (known = signal('')))
    const found = known
    void cache.get<string>(`draft:${id}`).then((kept) => {
      if (kept && found.value === '') found.value = kept
    })
  }
  return known
}

export function write(id: string, text: string): void {
  draft(id).value = text
  void (text ? cache.put(`draft:${id}`, text) : cache.delete(`draft:${id}`))
  channel?.postMessage({ id, text })
}

if (channel) channel.onmessage = ({ data }) => (draft(data.id).value = data.text)
