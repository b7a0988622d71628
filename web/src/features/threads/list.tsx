import { computed, signal } from '@preact/signals'
import { useLayoutEffect, useReducer, useRef } from 'preact/hooks'
import { drawer } from '../../app/drawer.ts'
import { language } from '../../app/lang.ts'
import { archive, filters, listed, pinnedAt } from '../../app/list.ts'
import { current, open } from '../../app/route.ts'
import { listKnown } from '../../app/rows.ts'
import type { Row } from '../../core/wire.ts'
import { useWindow } from '../../ui/window.ts'
import { remove } from './acts.ts'
import { placeOf, type Place } from './groups.ts'
import { Item, naming } from './item.tsx'
import { begin, chosen, end, extend, selected, toggleAll } from './selection.ts'
import { t } from './words.ts'

type Line = { heading: Place } | { row: Row }

const lines = computed<Line[]>(() => {
  const now = new Date()
  let last: Place | null = null
  return listed.value.flatMap((row) => {
    const place = pinnedAt(row) ? 'pinned' : placeOf(row.last_activity_at, now)
    const heading: Line[] = place === last ? [] : [{ heading: place }]
    last = place
    return [...heading, { row }]
  })
})

/** As they were when a pointer came down, until its click has been heard: what somebody clicks does not move away. */
const pressed = signal<Line[] | null>(null)
const CLICK = 100 // ms after the pointer is up; a finger's comes last
const ENDS = ['pointerup', 'pointercancel', 'contextmenu'] // after its menu, a browser may tell of no more
let letting = 0

function press(): void {
  clearTimeout(letting)
  pressed.value ??= lines.peek()
  const gone = new AbortController()
  const up = () => {
    gone.abort()
    clearTimeout(letting)
    letting = window.setTimeout(() => (pressed.value = null), CLICK)
  }
  for (const kind of ENDS) addEventListener(kind, up, gone)
}

function nameOf(place: Place): string {
  if (!/^\d/.test(place)) return t(place as 'today')
  const [year, month] = place.split('-').map(Number)
  return new Intl.DateTimeFormat(language.value, { year: 'numeric', month: 'long' }).format(new Date(year!, month! - 1))
}

const idOf = (line: Line | undefined): string | null => (line && 'row' in line ? line.row.thread_id : null)

export function List() {
  const box = useRef<HTMLElement>(null)
  const all = pressed.value ?? lines.value
  const view = useWindow(box, all.length, (index) => ('heading' in all[index]! ? 32 : 40), {
    key: (index) => {
      const line = all[index]!
      return 'heading' in line ? line.heading : line.row.thread_id
    },
  })
  const wanted = naming.value ?? current.value
  useLayoutEffect(() => {
    const place = all.findIndex((one) => idOf(one) === wanted)
    if (place >= 0 && !view.items.some((one) => one.index === place)) view.to(place)
  }, [wanted])
  const next = useRef<string | null>(null) // gets the focus when it is in the page, as what it is by then
  const [, again] = useReducer<number, void>((n) => n + 1, 0)
  useLayoutEffect(() => {
    const element = next.current && box.current?.querySelector<HTMLElement>(`[data-thread='${next.current}'] :is(a, input)`)
    if (!element) return
    next.current = null
    element.focus()
  })
  if (!all.length) return <p class="side-empty">{t(why())}</p>

  const focus = (id: string | undefined) => {
    if (id === undefined) return
    next.current = id
    view.to(all.findIndex((one) => idOf(one) === id))
    again()
  }
  const keys = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement
    const id = target.closest<HTMLElement>('[data-thread]')?.dataset.thread
    if (id === undefined || target.matches('.side-name') || !act(event, id, focus)) return
    event.preventDefault()
    event.stopPropagation()
  }
  return (
    <nav class="side-list" ref={box} aria-label={t('list')} data-count={listed.value.length} onKeyDown={keys} onPointerDown={press}>
      <ul style={{ height: `${view.height}px` }}>
        {view.items.map(({ index, start, key }) => {
          const line = all[index]!
          return 'heading' in line ? (
            <li class="side-heading" key={key} style={{ transform: `translateY(${start}px)` }}>
              <h2>{nameOf(line.heading)}</h2>
            </li>
          ) : (
            <Item key={key} row={line.row} start={start} here={line.row.thread_id === current.value} onOpen={choose} />
          )
        })}
      </ul>
    </nav>
  )
}

function why(): 'loading' | 'unmatched' | 'nothing' | 'none' {
  if (listKnown.value === null) return 'loading'
  if (Object.keys(filters.value).length) return 'unmatched'
  return archive.value ? 'nothing' : 'none'
}

/** With a key, on the one that has the focus; whether there is something to do. */
function act(event: KeyboardEvent, id: string, focus: (id: string | undefined) => void): boolean {
  const ids = listed.value.map((row) => row.thread_id)
  const place = ids.indexOf(id)
  const places: Record<string, number> = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: ids.length - 1 }
  const other = ids[places[event.key] ?? -1]
  if (event.key in places) {
    if (event.shiftKey && other) {
      if (!chosen.value) begin([id])
      extend(other)
    }
    focus(other)
  } else if (event.key === 'F2') naming.value = id
  else if (event.key === 'Delete') {
    const gone = chosen.value ? selected.value : listed.value.filter((row) => row.thread_id === id)
    focus(ids.slice(place).find((one) => !gone.some((row) => row.thread_id === one)) ?? ids[place - 1])
    if (gone.length) remove(gone)
    end()
  } else if (event.key === 'Escape' && chosen.value) {
    end()
    focus(id)
  } else if (event.key === 'a' && (event.ctrlKey || event.metaKey) && chosen.value) toggleAll()
  else return false
  return true
}

function choose(id: string): void {
  open(id)
  drawer.value = false
}
