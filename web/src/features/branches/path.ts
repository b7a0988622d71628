/** The branches of the thread that is shown, as the server computes them, asked again whenever it changes. */

import { computed, effect, signal } from '@preact/signals'
import { api } from '../../app/api.ts'
import { current, open, route } from '../../app/route.ts'
import { rows } from '../../app/rows.ts'
import { refresh, thread } from '../../app/threads.ts'
import { agrees, ways, type Path, type Ways } from '../../core/branches.ts'
import { messages } from '../../core/view.ts'

interface Known {
  thread: string
  path: Path
  ways: Map<string, Ways>
}

const known = signal<Known | null>(null)

export const waysOf = (id: string, message: string): Ways | null =>
  known.value?.thread === id ? (known.value.ways.get(message) ?? null) : null

export const source = computed(() => (known.value?.thread === current.value ? known.value.path.forked_from : null))

/** Something runs in the thread that is shown, or waits to, as far as is known. */
export const busy = computed(() => {
  const { view, queue } = thread(current.value).value
  return view.in_flight !== null || queue.length > 0
})

/** Whether the thread that is shown can be changed. One for all turns. */
export const ready = computed(() => thread(current.value).value.known === 'live' && !busy.value)

/** What must be the same for the answer to be the same. */
const basis = computed(() => {
  const { thread: id, fresh } = route.value
  const { known: how, view } = thread(id).value
  if (fresh || how !== 'live' || view.in_flight !== null) return null
  const held = messages(view)
  return `${id} ${rows.value.get(id)?.updated_at} ${held.length} ${held.at(-1)?.id}`
})

export async function load(id: string): Promise<void> {
  const path = await api<Path>(`threads/${id}/branches/messages?ids=true`)
  const held = messages(thread(id).value.view)
  if (agrees(path, held)) known.value = { thread: id, path, ways: ways(path, held) }
  else if (id === current.peek() && ready.peek()) void refresh(id) // another tab chose another branch
}

/** When nobody scrolls, for it is much to read in a long conversation. Safari cannot tell. Returns what calls it off. */
function idly(what: () => void): () => void {
  if (typeof requestIdleCallback === 'undefined') {
    const timer = setTimeout(what, 100)
    return () => clearTimeout(timer)
  }
  const handle = requestIdleCallback(what, { timeout: 1500 })
  return () => cancelIdleCallback(handle)
}

export function start(): void {
  effect(() => {
    if (basis.value === null) return
    const id = current.peek()
    return idly(() => void load(id).catch(() => {}))
  })
}

/** Show another branch and go on from it: on every device, until another one is chosen. */
export async function choose(id: string, checkpoint: string): Promise<void> {
  await api(`threads/${id}/head`, { method: 'PUT', body: { checkpoint_id: checkpoint } })
  if (route.peek().at !== null && current.peek() === id) open(id)
  await refresh(id)
  await load(id)
}
