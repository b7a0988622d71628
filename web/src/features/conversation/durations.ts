/** How long tools of past turns took: no part of the state, but the thread's log has it, and is read once if it is wanted. */

import { signal } from '@preact/signals'
import { replay } from '../../app/state.ts'

const QUIET = 2_000 // ms without another event: then the log is read

const known = signal<ReadonlyMap<string, number>>(new Map())
const seen = new Map<string, number>() // of calls that ended before one's eyes
const reading = new Map<string, () => void>()
const read = new Map<string, ReadonlySet<string>>() // by thread: calls that were looked for and are not there

export function durationOf(thread: string, call: string): number | null {
  const found = seen.get(call) ?? known.value.get(call)
  if (found === undefined && !reading.has(thread) && !read.get(thread)?.has(call)) look(thread)
  if (found === undefined) wanted(thread, call)
  return found ?? null
}

export function remember(call: string, ms: number): void {
  seen.set(call, ms)
}

function wanted(thread: string, call: string): void {
  read.set(thread, new Set([...(read.get(thread) ?? []), call]))
}

function look(thread: string): void {
  const found = new Map<string, number>()
  const show = () => {
    if (found.size) known.value = new Map([...known.value, ...found])
    found.clear()
  }
  const end = () => {
    show()
    reading.get(thread)?.()
    reading.delete(thread)
  }
  let timer = setTimeout(end, QUIET * 4)
  reading.set(
    thread,
    replay(thread, ['tools'], ({ params: { data } }) => {
      clearTimeout(timer)
      timer = setTimeout(end, QUIET)
      if (typeof data.duration_ms !== 'number') return
      if (!found.size) setTimeout(show, 50)
      found.set(data.tool_call_id, data.duration_ms)
    }),
  )
}
