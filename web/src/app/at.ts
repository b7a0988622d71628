/** What is shown of a thread: as it is, or as it was at the checkpoint of the address; and the message to go to in it. */

import { computed, effect, signal } from '@preact/signals'
import { EMPTY, messages, type View } from '../core/view.ts'
import { turnOf } from '../core/turns.ts'
import type { Json } from '../core/wire.ts'
import { api, passes } from './api.ts'
import { open, route } from './route.ts'
import { thread } from './threads.ts'

export interface Earlier {
  thread: string
  at: string
  values: Json
  next: string[]
  createdAt: string | null
  parent: string | null
}

const AGAIN = 3000 // ms

const found = signal<Earlier | null>(null)

const asked = computed(() => {
  const { thread: id, at } = route.value
  return at !== null && found.value?.thread === id && found.value.at === at ? found.value : null
})

/** The checkpoint of the address, when it is read. */
export const earlier = computed(() => (asked.value?.createdAt ? asked.value : null))
/** There is no such checkpoint. */
export const lost = computed(() => asked.value !== null && asked.value.createdAt === null)

const past = computed<View | null>(() => (earlier.value ? { ...EMPTY, values: earlier.value.values } : null))

export const shown = (id: string): View => (earlier.value?.thread === id && past.value ? past.value : thread(id).value.view)

/** Go to this message; to the checkpoint that has it if the thread went on without it. */
export const sought = signal<{ thread: string; message: string; checkpoint: string | null } | null>(null)

/** The turn to go to in what is shown, once. */
export function arrive(id: string): string | null {
  const wanted = sought.value
  if (wanted?.thread !== id) return null
  const turn = turnOf(messages(shown(id)), wanted.message)
  if (turn !== null) sought.value = null
  return turn
}

export async function read(id: string, at: string): Promise<Earlier> {
  const select = ['values', 'next', 'created_at', 'parent_checkpoint'].map((one) => `select=${one}`).join('&')
  const state = await api<Json>(`threads/${id}/state/${at}?${select}`)
  const parent = state.parent_checkpoint?.checkpoint_id ?? null
  return { thread: id, at, values: state.values, next: state.next ?? [], createdAt: state.created_at, parent }
}

effect(() => {
  const { thread: id, at } = route.value
  if (at === null) return
  let timer: number | undefined
  let over = false
  const look = (): void =>
    void read(id, at).then(
      (state) => (found.value = state),
      (error: unknown) => {
        if (!passes(error)) found.value = { thread: id, at, values: null, next: [], createdAt: null, parent: null }
        else if (!over) timer = window.setTimeout(look, AGAIN)
      },
    )
  look()
  return () => {
    over = true
    clearTimeout(timer)
  }
})

effect(() => {
  const wanted = sought.value
  const { thread: id, at } = route.value
  if (wanted && wanted.thread !== id) sought.value = null
  if (!wanted || wanted.thread !== id || thread(id).value.known !== 'live') return
  if (turnOf(messages(shown(id)), wanted.message) !== null) return
  if (wanted.checkpoint !== null && at !== wanted.checkpoint) open(id, wanted.checkpoint)
})
