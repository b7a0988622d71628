import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import type { Command, Feature } from '../../app/feature.ts'
import { Mark, stateOf } from '../../app/mark.tsx'
import { current, open } from '../../app/route.ts'
import { rows } from '../../app/rows.ts'
import { close, idOfTab, keepTabs, move, step, tabbed, tabs } from '../../app/tabs.ts'
import { title } from '../../app/threads.ts'
import { common } from '../../app/words.ts'
import { beside } from '../../core/tabs.ts'
import { Icon } from '../../ui/icon.tsx'
import './tabs.css'
import { t } from './words.ts'

let dragged: string | null = null

const titleOf = (id: string): string =>
  (id === current.value ? title.value : rows.value.get(id)?.title) || common('untitled')

function Tabs() {
  return tabbed.value ? <Strip /> : null
}

function Strip() {
  const box = useRef<HTMLDivElement>(null)
  const list = tabs.value
  const here = current.value
  const next = useRef<string | null>(null) // gets the focus when it is there
  const find = (id: string) => document.getElementById(idOfTab(id))
  useLayoutEffect(() => {
    if (next.current !== null) find(next.current)?.focus()
    next.current = null
  })
  useEffect(() => find(here)?.scrollIntoView({ block: 'nearest', inline: 'nearest' }), [here, list.length])

  const keys = (event: KeyboardEvent) => {
    const element = (event.target as HTMLElement).closest<HTMLElement>('[data-tab]')
    const id = element?.dataset.tab
    if (id === undefined || event.ctrlKey || event.metaKey || event.altKey) return
    const place = list.indexOf(id)
    const places: Record<string, number> = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: list.length - 1 }
    const other = event.key in places ? list.at(places[event.key]! % list.length)! : null
    if (other !== null && event.shiftKey) {
      move(id, other)
      next.current = id
    } else if (other !== null) find(other)?.focus()
    else if (event.key === 'Enter' || event.key === ' ') {
      element!.blur() // the box to write in gets it
      open(id)
    } else if (event.key === 'Delete') {
      find(beside(list, id)!)?.focus()
      close(id)
      if (!tabbed.value) document.querySelector<HTMLElement>('#composer')?.focus()
    } else return
    event.preventDefault()
    event.stopPropagation()
  }
  return (
    <div class="tabs" ref={box} role="tablist" aria-label={t('tabs')} onKeyDown={keys} onWheel={turned}>
      {list.map((id) => (
        <Tab key={id} id={id} here={id === here} reached={id === (list.includes(here) ? here : list[0])} />
      ))}
    </div>
  )
}

function turned(event: WheelEvent): void {
  if (!event.deltaX && !event.shiftKey) (event.currentTarget as HTMLElement).scrollLeft += event.deltaY
}

/** Its cross is for pointers: inside of a tab is nothing that has the focus, and by key it is Delete. */
function Tab({ id, here, reached }: { id: string; here: boolean; reached: boolean }) {
  const row = rows.value.get(id)
  const state = row ? stateOf(row, here) : null
  const over = (event: DragEvent) => {
    if (dragged === null) return
    event.preventDefault()
    const { left, width } = (event.currentTarget as HTMLElement).getBoundingClientRect()
    const order = tabs.value
    const after = order.indexOf(dragged) < order.indexOf(id)
    if (dragged !== id && event.clientX > left + width / 2 === after) move(dragged, id)
  }
  return (
    <div
      class="tab"
      role="tab"
      id={idOfTab(id)}
      data-tab={id}
      title={titleOf(id)}
      tabindex={reached ? 0 : -1}
      aria-selected={here}
      aria-controls="conversation"
      aria-keyshortcuts="Delete"
      draggable
      onClick={() => open(id)}
      onMouseDown={(event) => event.button === 1 && event.preventDefault()} // which would begin to scroll
      onAuxClick={(event) => event.button === 1 && close(id)}
      onDragStart={(event) => {
        dragged = id
        event.dataTransfer!.effectAllowed = 'move'
        event.dataTransfer!.setData('application/x-threadmill-tab', id)
      }}
      onDragOver={over}
      onDragEnd={() => (dragged = null)}
    >
      <span class="tab-title" dir="auto">{titleOf(id)}</span>
      {state && <Mark state={state} short />}
      <span
        class="tab-close"
        aria-hidden="true"
        onMouseDown={(event) => event.preventDefault()} // the focus stays where it is
        onClick={(event) => {
          event.stopPropagation()
          close(id)
        }}
      >
        <Icon name="close" />
      </span>
    </div>
  )
}

const command = (id: 'next' | 'previous' | 'close' | 'others', run: () => void, keys?: string): Command => ({
  id: `tab-${id}`,
  title: () => t(id),
  ...(keys && { keys }),
  run,
  when: () => tabbed.value,
})

export const feature: Feature = {
  name: 'tabs',
  slots: { above: Tabs },
  commands: [
    command('next', () => step(1), 'alt+pagedown'),
    command('previous', () => step(-1), 'alt+pageup'),
    command('close', () => close(current.value)),
    command('others', () => tabs.value.filter((one) => one !== current.value).forEach(close)),
  ],
  start: keepTabs,
}
