/** What the thread that is shown does next, where it waits without a question: at a breakpoint of its graph, where it was
 * forked, or after a run that was cancelled. */

import { computed, effect, signal } from '@preact/signals'
import { api } from './api.ts'
import { current, route } from './route.ts'
import { row } from './rows.ts'
import { thread } from './threads.ts'

const found = signal<{ thread: string; nodes: string[] } | null>(null)

/** The moment that it may wait at: asked again after each change. The list does not call it waiting for a person where
 * a run was cancelled; where one crashed it does, but for another choice. */
const waits = computed(() => {
  const { view, queue, known } = thread(current.value).value
  if (known !== 'live' || view.in_flight !== null || view.interrupts.length || queue.length || route.value.at !== null) return null
  const { status, thread_id: id } = row.value ?? {}
  const cancelled = status === 'idle' && view.status === 'interrupted'
  return id && !view.error && (status === 'waiting' || cancelled) ? { id, view } : null
})

/** Its nodes; null if it does not wait so. */
export const next = computed(() => (waits.value && found.value?.thread === current.value ? found.value.nodes : null))

effect(() => {
  const moment = waits.value
  if (moment === null) return
  void api<{ next: string[] }>(`threads/${moment.id}/state?select=next`).then(
    (state) => {
      if (waits.peek() === moment) found.value = state.next.length ? { thread: moment.id, nodes: state.next } : null
    },
    () => {},
  )
})
