import { computed } from '@preact/signals'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { drawer } from '../../app/drawer.ts'
import type { Feature } from '../../app/feature.ts'
import { language } from '../../app/lang.ts'
import { listed, pinnedAt } from '../../app/list.ts'
import { current, open, openNew, route } from '../../app/route.ts'
import { listKnown } from '../../app/rows.ts'
import type { Row } from '../../core/wire.ts'
import { Button } from '../../ui/button.tsx'
import { useWindow } from '../../ui/window.ts'
import { placeOf, type Place } from './groups.ts'
import { Item } from './item.tsx'
import './threads.css'
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

function nameOf(place: Place): string {
  if (!/^\d/.test(place)) return t(place as 'today')
  const [year, month] = place.split('-').map(Number)
  return new Intl.DateTimeFormat(language.value, { year: 'numeric', month: 'long' }).format(new Date(year!, month! - 1))
}

export function begin(): void {
  openNew()
  drawer.value = false
  document.querySelector<HTMLElement>('#composer')?.focus()
}

function New() {
  return (
    <Button kind="main" icon="plus" class="new" onClick={begin} aria-current={route.value.fresh ? 'page' : undefined}>
      {t('new')}
    </Button>
  )
}

function List() {
  const box = useRef<HTMLDivElement>(null)
  const all = lines.value
  const view = useWindow(box, all.length, (index) => ('heading' in all[index]! ? 32 : 40), {
    key: (index) => {
      const line = all[index]!
      return 'heading' in line ? line.heading : line.row.thread_id
    },
  })
  useLayoutEffect(() => {
    const place = all.findIndex((one) => 'row' in one && one.row.thread_id === current.value)
    if (place >= 0 && !view.items.some((one) => one.index === place)) view.to(place)
  }, [current.value])
  if (!all.length) return <p class="side-empty">{listKnown.value === null ? t('loading') : t('none')}</p>
  return (
    <nav class="side-list" ref={box} aria-label={t('list')} data-count={all.length}>
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

function choose(id: string): void {
  open(id)
  drawer.value = false
}

function Sidebar() {
  return (
    <>
      <New />
      <List />
    </>
  )
}

export const feature: Feature = {
  name: 'threads',
  order: 90, // below the search
  slots: { sidebar: Sidebar },
  commands: [{ id: 'new', title: () => t('new'), keys: 'mod+shift+o', run: begin }],
}
