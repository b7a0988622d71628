/** Where one is: `/` begins a conversation, `/t/{id}` is one, `/t/{id}?at={checkpoint}` is one at a checkpoint. */

import { computed, signal } from '@preact/signals'
import { BASE, newId } from './api.ts'

export interface Route {
  thread: string
  /** It has no message yet, and no address. */
  fresh: boolean
  at: string | null
}

const below = (): string => location.pathname.slice(BASE.pathname.length)

/** Of `/s/{token}`, a conversation that somebody has shared. */
export const shareToken = (): string | null => /^s\/([^/]+)$/.exec(below())?.[1] ?? null

function here(): Route {
  const id = /^t\/([0-9a-f-]{36})$/i.exec(below())?.[1]
  if (id === undefined) return { thread: newId(), fresh: true, at: null }
  return { thread: id.toLowerCase(), fresh: false, at: new URLSearchParams(location.search).get('at') }
}

export const route = signal<Route>(here())
export const current = computed(() => route.value.thread)

export function open(thread: string, at: string | null = null): void {
  const address = new URL(`t/${thread}${at === null ? '' : `?at=${encodeURIComponent(at)}`}`, BASE)
  if (address.href !== location.href) history.pushState(null, '', address)
  route.value = { thread, fresh: false, at }
}

export function openNew(): void {
  if (location.pathname !== BASE.pathname) history.pushState(null, '', BASE)
  route.value = { thread: newId(), fresh: true, at: null }
}

/** The new conversation has its first message: it gets its address. */
export function settled(): void {
  if (route.value.fresh) open(route.value.thread)
}

addEventListener('popstate', () => (route.value = here()))
