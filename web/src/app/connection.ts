/** The one connection of this browser, and what it keeps for the time without one. */

import { signal } from '@preact/signals'
import { Cache } from '../core/cache.ts'
import type { LinkState } from '../core/hub.ts'
import { Link } from '../core/link.ts'
import { BASE, newId, refused, token } from './api.ts'

export const link = signal<LinkState>({ phase: 'connecting', tries: 0, retryAt: null })
/** The browser keeps nothing: a private window, or no room. */
export const cacheBroken = signal(false)

export const cache = new Cache(`threadmill${BASE.pathname}${fingerprint(token.value)}`, () => (cacheBroken.value = true))

const socketUrl = new URL('ws', BASE)
socketUrl.protocol = BASE.protocol.replace('http', 'ws')

export const connection = new Link(
  socketUrl.href,
  `threadmill-tab-${newId()}`,
  () => new SharedWorker(new URL('../core/worker.ts', import.meta.url), { type: 'module', name: BASE.pathname }),
  (state) => {
    link.value = state
    if (state.phase === 'refused') refused.value = true
  },
)

export const wake = (): void => connection.wake()

/** Caches of one user are not shown to another who logs in here. */
function fingerprint(text: string | null): string {
  let hash = 0
  for (const one of text ?? '') hash = (Math.imul(hash, 31) + one.codePointAt(0)!) | 0
  return text ? `#${(hash >>> 0).toString(36)}` : ''
}
