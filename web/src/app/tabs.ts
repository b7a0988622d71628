/** Threads that are open, as tabs above the conversation: those of this tab of the browser, whose storage is its own. What was
 * deleted or put away has none while it is. */

import { computed, effect, signal } from '@preact/signals'
import { tab } from '../core/keeper.ts'
import { beside, moved, opened } from '../core/tabs.ts'
import { archivedAt } from './list.ts'
import { current, open, route, type Route } from './route.ts'
import { hidden, rows } from './rows.ts'
import { thread } from './threads.ts'

const KEY = 'threadmill.tabs'
const all = signal<readonly string[]>(tab.read(KEY, []))
const wide = signal(true) // on a narrow window the drawer does it

function there(id: string): boolean {
  if (id === current.value) return thread(id).value.known !== 'gone'
  const row = rows.value.get(id)
  return row !== undefined && !hidden.value.has(id) && !archivedAt(row)
}

export const tabs = computed(() => all.value.filter(there))
/** One alone needs no tab. */
export const tabbed = computed(() => wide.value && tabs.value.length > 1)

export const idOfTab = (id: string): string => `tab-${id}`

export function close(id: string): void {
  const other = beside(tabs.value, id)
  if (id === current.value && other) open(other)
  all.value = all.value.filter((one) => one !== id)
}

export function move(id: string, to: string): void {
  all.value = moved(all.value, id, to)
}

/** The one so many places behind what is shown; the first follows the last. */
export function step(by: number): void {
  const list = tabs.value
  open(list.at((list.indexOf(current.value) + by) % list.length)!)
}

export function keepTabs(): void {
  const window = matchMedia('(min-width: 761px)')
  const measure = () => (wide.value = window.matches)
  window.addEventListener('change', measure)
  measure()
  let last: Route | null = null
  effect(() => {
    const { thread: id } = route.value
    const known = rows.peek()
    const unbegun = last !== null && last.fresh && !known.has(last.thread)
    all.value = opened(all.peek(), id, last?.thread ?? null, unbegun).filter((one) => {
      const row = known.get(one)
      return one === id || row === undefined || !archivedAt(row)
    })
    last = route.value
  })
  effect(() => tab.set(KEY, JSON.stringify(all.value)))
}
