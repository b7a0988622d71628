/** How long past answers and tools took: asked for once they are looked at, and again when there is more to know. */

import { computed, effect, signal, type Signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { api } from '../../app/api.ts'
import { current } from '../../app/route.ts'
import { link } from '../../app/connection.ts'
import { thread } from '../../app/threads.ts'
import { Timings, type Page } from '../../core/timings.ts'
import { messages } from '../../core/view.ts'

const GLANCE = 60 // ms: what is only scrolled past is not looked at

interface Book {
  timings: Timings
  changes: Signal<number>
}

const books = new Map<string, Book>()

function book(id: string): Book {
  let known = books.get(id)
  if (known === undefined) {
    const changes = signal(0)
    const timings = new Timings((query) => api<Page>(`threads/${id}/timings?${query}`), () => (changes.value += 1))
    books.set(id, (known = { timings, changes }))
  }
  return known
}

/** Of a thread, when they have what is told of a message or call; null: nothing more is wanted. */
export function useTimings(id: string, wanted: string | null): Timings {
  const { timings, changes } = book(id)
  useEffect(() => {
    if (wanted === null) return
    let leave: (() => void) | null = null
    const timer = setTimeout(() => (leave = timings.want(wanted)), GLANCE)
    return () => {
      clearTimeout(timer)
      leave?.()
    }
  }, [id, wanted])
  void changes.value
  return timings
}

/** Changes when a run of the thread has ended, here or elsewhere. */
const moment = computed(() => {
  const { view } = thread(current.value).value
  return view.in_flight === null ? `${current.value} ${messages(view).at(-1)?.id}` : null
})

export function start(): void {
  effect(() => {
    if (moment.value !== null) books.get(current.peek())?.timings.renew()
  })
  effect(() => {
    if (link.value.phase === 'open') books.get(current.peek())?.timings.retry()
  })
}
