import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { api, BASE } from '../../app/api.ts'
import { Slot } from '../../app/feature.ts'
import { current, openNew } from '../../app/route.ts'
import { hidden, patch } from '../../app/rows.ts'
import { common } from '../../app/words.ts'
import type { Row } from '../../core/wire.ts'
import { Button, IconButton } from '../../ui/button.tsx'
import { Icon, type IconName } from '../../ui/icon.tsx'
import { toast } from '../../ui/toast.tsx'
import { t } from './words.ts'

type State = 'running' | 'queued' | 'paused' | 'waiting' | 'failed' | 'unread'
const ICONS: Record<State, IconName> = {
  running: 'running',
  queued: 'queued',
  paused: 'paused',
  waiting: 'waiting',
  failed: 'failed',
  unread: 'check',
}

function stateOf(row: Row, here: boolean): State | null {
  if (row.status !== 'idle') return row.status
  return row.unread && !here ? 'unread' : null
}

export function Item({ row, start, here, onOpen }: { row: Row; start: number; here: boolean; onOpen: (id: string) => void }) {
  const menu = useSignal(false)
  const naming = useSignal(false)
  const state = stateOf(row, here)
  const title = row.title || common('untitled')
  const click = (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return
    event.preventDefault()
    onOpen(row.thread_id)
  }
  return (
    <li
      class={`side-item ${here ? 'here' : ''} ${row.unread && !here ? 'unread' : ''}`}
      style={{ transform: `translateY(${start}px)` }}
      data-thread={row.thread_id}
      data-state={state ?? 'idle'}
    >
      {naming.value ? (
        <Naming row={row} end={() => (naming.value = false)} />
      ) : (
        <a
          href={new URL(`t/${row.thread_id}`, BASE).href}
          aria-current={here ? 'page' : undefined}
          onClick={click}
          onDblClick={() => (naming.value = true)}
        >
          <span class="side-title">{title}</span>
          {state && (
            <span class={`state state-${state}`} title={t(state)}>
              <Icon name={ICONS[state]} />
              <span>{t(state)}</span>
            </span>
          )}
        </a>
      )}
      <IconButton
        class="side-more"
        icon="more"
        label={t('menu', { title })}
        aria-expanded={menu.value}
        onClick={() => (menu.value = !menu.value)}
      />
      {menu.value && <Menu row={row} close={() => (menu.value = false)} rename={() => (naming.value = true)} />}
    </li>
  )
}

function Menu({ row, close, rename }: { row: Row; close: () => void; rename: () => void }) {
  const box = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const from = box.current?.parentElement?.querySelector<HTMLElement>('.side-more')
    box.current?.querySelector('button')?.focus()
    const outside = (event: Event) => {
      if (!box.current?.parentElement?.contains(event.target as Node)) close()
    }
    addEventListener('pointerdown', outside)
    return () => {
      removeEventListener('pointerdown', outside)
      if (box.current?.contains(document.activeElement)) from?.focus()
    }
  }, [])
  const keys = (event: KeyboardEvent) => {
    const buttons = [...(box.current?.querySelectorAll('button') ?? [])]
    const place = buttons.indexOf(document.activeElement as HTMLButtonElement)
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0
    if (step) buttons.at((place + step) % buttons.length)?.focus()
    else if (event.key === 'Escape') close()
    else return
    event.preventDefault()
    event.stopPropagation()
  }
  return (
    <div class="menu" ref={box} onKeyDown={keys} role="group">
      <Button
        icon="edit"
        onClick={() => {
          close()
          rename()
        }}
      >
        {t('rename')}
      </Button>
      <Slot name="threadMenu" row={row} close={close} />
      <Button
        icon="trash"
        kind="danger"
        onClick={() => {
          close()
          remove(row)
        }}
      >
        {t('delete')}
      </Button>
    </div>
  )
}

function Naming({ row, end }: { row: Row; end: () => void }) {
  const box = useRef<HTMLInputElement>(null)
  const over = useRef(false)
  useEffect(() => box.current?.select(), [])
  const finish = (keep: boolean) => {
    if (over.current) return
    over.current = true
    const title = box.current?.value.trim() ?? ''
    if (keep && title && title !== row.title) void patch(row.thread_id, { title }).catch((error) => toast(String(error.message)))
    end()
  }
  return (
    <input
      ref={box}
      class="side-name"
      aria-label={t('name')}
      value={row.title ?? ''}
      onBlur={() => finish(true)}
      onKeyDown={(event) => {
        if (event.isComposing) return
        if (event.key === 'Enter') finish(true)
        if (event.key === 'Escape') finish(false)
      }}
    />
  )
}

/** Gone at once, deleted when the time to undo it is over, or the page closes. */
export function remove(row: Row): void {
  const id = row.thread_id
  hidden.value = new Set([...hidden.value, id])
  if (current.value === id) openNew()
  let undone = false
  const finish = () => {
    removeEventListener('pagehide', finish)
    if (undone) return
    undone = true
    void api(`threads/${id}`, { method: 'DELETE', keepalive: true }).catch((error) => {
      show()
      toast(String(error.message))
    })
  }
  const show = () => (hidden.value = new Set([...hidden.value].filter((one) => one !== id)))
  addEventListener('pagehide', finish)
  const undo = () => {
    undone = true
    removeEventListener('pagehide', finish)
    show()
  }
  toast(t('deleted', { title: row.title || common('untitled') }), { action: { label: common('undo'), run: undo }, ended: finish })
}
