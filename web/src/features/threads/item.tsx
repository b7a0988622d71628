import { signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { BASE } from '../../app/api.ts'
import { archivedAt, pinnedAt } from '../../app/list.ts'
import { Mark, stateOf, type State } from '../../app/mark.tsx'
import { patch } from '../../app/rows.ts'
import { common } from '../../app/words.ts'
import type { Row } from '../../core/wire.ts'
import { Icon } from '../../ui/icon.tsx'
import { Menu, type Act } from '../../ui/menu.tsx'
import { toast } from '../../ui/toast.tsx'
import { pin, putAway, remove } from './acts.ts'
import { begin, chosen, extend, toggle } from './selection.ts'
import { t } from './words.ts'

const LONG_PRESS = 400 // ms; Android has its own menu after 500

/** The one that gets a new name. */
export const naming = signal<string | null>(null)
/** The box is gone with the new name: the link in its place gets the focus. */
let focusOn: string | null = null

const actsOn = (row: Row): Act[] => [
  { label: t('rename'), icon: 'edit', run: () => (naming.value = row.thread_id) },
  { label: t(pinnedAt(row) ? 'unpin' : 'pin'), icon: 'pin', run: () => pin([row]) },
  { label: t(archivedAt(row) ? 'return' : 'archive'), icon: 'archive', run: () => putAway([row]) },
  { label: t('select'), icon: 'check', run: () => begin([row.thread_id]) },
  { label: t('delete'), icon: 'trash', kind: 'danger', run: () => remove([row]) },
]

interface Props {
  row: Row
  start: number
  here: boolean
  onOpen: (id: string) => void
}

export function Item({ row, start, here, onOpen }: Props) {
  const id = row.thread_id
  const state = stateOf(row, here)
  return (
    <li
      class={`side-item ${here ? 'here' : ''} ${row.unread && !here ? 'unread' : ''}`}
      style={{ transform: `translateY(${start}px)` }}
      data-thread={id}
      data-state={state ?? 'idle'}
    >
      {naming.value === id ? (
        <Naming row={row} />
      ) : chosen.value ? (
        <label class="side-link">
          <input
            type="checkbox"
            checked={chosen.value.has(id)}
            onClick={(event) => (event.shiftKey ? extend(id) : toggle(id))}
          />
          <Words row={row} state={state} />
        </label>
      ) : (
        <Link row={row} state={state} here={here} onOpen={onOpen} />
      )}
      {!chosen.value && <Menu icon="more" label={t('menu', { title: titleOf(row) })} acts={() => actsOn(row)} />}
    </li>
  )
}

const titleOf = (row: Row): string => row.title || common('untitled')

function Link({ row, state, here, onOpen }: Omit<Props, 'start'> & { state: State | null }) {
  const pressing = useRef(0)
  const id = row.thread_id
  const click = (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return
    event.preventDefault()
    onOpen(id)
  }
  const press = (event: PointerEvent) => {
    if (event.pointerType !== 'touch') return
    pressing.current = window.setTimeout(() => {
      begin([id])
      swallow()
    }, LONG_PRESS)
  }
  const release = () => clearTimeout(pressing.current)
  const link = useRef<HTMLAnchorElement>(null)
  useEffect(() => {
    if (focusOn === id) link.current?.focus()
    if (focusOn === id) focusOn = null
    return release
  }, [])
  return (
    <a
      ref={link}
      class="side-link"
      href={new URL(`t/${id}`, BASE).href}
      aria-current={here ? 'page' : undefined}
      onClick={click}
      onDblClick={() => (naming.value = id)}
      onPointerDown={press}
      onPointerUp={release}
      onPointerCancel={release}
      onPointerLeave={release}
    >
      <Words row={row} state={state} />
    </a>
  )
}

/** The finger that is lifted after a long press clicks nothing. */
function swallow(): void {
  const stop = (event: Event) => {
    event.preventDefault()
    event.stopPropagation()
  }
  addEventListener('click', stop, { capture: true, once: true })
  addEventListener('pointerdown', () => removeEventListener('click', stop, { capture: true }), { capture: true, once: true })
}

function Words({ row, state }: { row: Row; state: State | null }) {
  return (
    <>
      <span class="side-title" dir="auto">{titleOf(row)}</span>
      {archivedAt(row) > 0 && <Icon name="archive" />}
      {state && <Mark state={state} />}
    </>
  )
}

function Naming({ row }: { row: Row }) {
  const box = useRef<HTMLInputElement>(null)
  const over = useRef(false)
  useEffect(() => box.current?.select(), [])
  const finish = (keep: boolean) => {
    if (over.current) return
    over.current = true
    const title = box.current?.value.trim() ?? ''
    if (keep && title && title !== row.title) void patch(row.thread_id, { title }).catch((error) => toast(String(error.message)))
    naming.value = null
  }
  return (
    <input
      ref={box}
      class="side-name"
      aria-label={t('name')}
      defaultValue={row.title ?? ''}
      maxLength={1000}
      onBlur={() => finish(true)}
      onKeyDown={(event) => {
        if (event.isComposing) return
        if (event.key !== 'Enter' && event.key !== 'Escape') return
        focusOn = row.thread_id
        finish(event.key === 'Enter')
      }}
    />
  )
}
