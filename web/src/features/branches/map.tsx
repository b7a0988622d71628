import { useComputed, useSignal, useSignalEffect } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { api } from '../../app/api.ts'
import { language } from '../../app/lang.ts'
import { rows } from '../../app/rows.ts'
import { thread } from '../../app/threads.ts'
import { common } from '../../app/words.ts'
import { branching, type Branching, type Piece } from '../../core/branches.ts'
import { Button, IconButton } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'
import { toast } from '../../ui/toast.tsx'
import { busy, choose } from './path.ts'
import { t } from './words.ts'

interface Shared {
  id: string
  /** The branch, by the checkpoint that it ends with, that is being given a name. */
  naming: string | null
  name: (head: string | null) => void
  change: (what: Promise<unknown>) => Promise<void>
}

/** All ways that the conversation went, as a tree: each can be gone to, and be given a name. */
export function BranchMap({ thread: id, close }: { thread: string; close: () => void }) {
  const found = useSignal<{ total: number; pieces: Piece[] } | null>(null)
  const naming = useSignal<string | null>(null)
  const basis = useComputed(() => `${rows.value.get(id)?.updated_at} ${thread(id).value.view.in_flight === null}`)
  const load = async () => {
    found.value = await api<{ total: number; pieces: Piece[] }>(`threads/${id}/branches/map`)
  }
  useSignalEffect(() => {
    void basis.value
    load().catch(() => {})
  })
  const change = (what: Promise<unknown>) => what.then(load).catch((error: Error) => toast(error.message))
  const shared = { id, naming: naming.value, name: (head: string | null) => (naming.value = head), change }
  const { total, pieces } = found.value ?? { total: 0, pieces: [] }
  return (
    <aside class="side-panel map" aria-label={t('map')}>
      <div class="side-panel-head">
        <h2>{t('map')}</h2>
        <IconButton icon="close" label={common('close')} onClick={close} />
      </div>
      <div class="map-body" onKeyDown={(event) => keys(event, close)}>
        <Pieces list={branching(pieces)} {...shared} />
        {pieces.length < 2 && <p class="hint">{found.value === null ? t('loading') : t('one')}</p>}
        {total > pieces.length && <p class="hint">{t('more', { n: total - pieces.length })}</p>}
      </div>
    </aside>
  )
}

/** Up and down through all, left to what a piece follows, right to what follows it. */
function keys(event: KeyboardEvent, close: () => void): void {
  if (event.target instanceof HTMLInputElement) return
  if (event.key === 'Escape') return close()
  const all = [...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>('.piece')]
  const row = (event.target as HTMLElement).closest('li')
  const here = row?.querySelector<HTMLElement>('.piece')
  if (!row || !here) return
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
  const wanted = step
    ? all[all.indexOf(here) + step]
    : event.key === 'ArrowLeft'
      ? row.parentElement?.closest('li')?.querySelector<HTMLElement>('.piece')
      : event.key === 'ArrowRight'
        ? row.querySelector<HTMLElement>(':scope > ul .piece')
        : undefined
  if (!wanted) return
  event.preventDefault()
  wanted.focus()
}

function Pieces({ list, ...shared }: { list: Branching[] } & Shared) {
  return (
    <ul>
      {list.map((one) => (
        <li key={one.head} class={one.shown ? 'on-path' : ''}>
          <One piece={one} {...shared} />
          {one.after.length > 0 && <Pieces list={one.after} {...shared} />}
        </li>
      ))}
    </ul>
  )
}

function One({ piece, ...shared }: { piece: Branching } & Shared) {
  const { id, naming, name, change } = shared
  const go = () => void choose(id, piece.head).catch((error: Error) => toast(error.message))
  return (
    <div class="piece-row">
      <button
        type="button"
        class="piece"
        aria-current={piece.now ? 'true' : undefined}
        aria-disabled={busy.value}
        title={busy.value ? t('busy') : undefined}
        onClick={() => !busy.value && !piece.now && go()}
      >
        <span class="piece-text">{piece.preview ?? t('wordless')}</span>
        <span class="piece-about">
          {[...(piece.now ? [t('now')] : []), t('messages', { n: piece.messages }), clock(piece.time)].join(' · ')}
        </span>
      </button>
      {piece.names.map((one) => (
        <span class="piece-name" key={one.name}>
          <Icon name="branch" /> {one.name}
          <IconButton
            icon="pin"
            class={one.pinned ? 'pinned' : ''}
            label={t(one.pinned ? 'unpin' : 'pin', { name: one.name })}
            aria-pressed={one.pinned}
            onClick={() => void change(api(pathOf(id, one.name), { method: 'PATCH', body: { pinned: !one.pinned } }))}
          />
        </span>
      ))}
      {piece.last && naming === piece.head && <Name piece={piece} {...shared} />}
      {piece.last && naming !== piece.head && (
        <IconButton
          icon="edit"
          class="piece-edit"
          label={t(piece.names.length ? 'rename' : 'name', { text: piece.names[0]?.name ?? piece.preview ?? '' })}
          onClick={() => name(piece.head)}
        />
      )}
    </div>
  )
}

function Name({ piece, id, name, change }: { piece: Branching } & Shared) {
  const box = useRef<HTMLInputElement>(null)
  const old = piece.names[0]?.name
  useEffect(() => box.current!.select(), [])
  const leave = () => {
    box.current!.closest('li')!.querySelector<HTMLElement>('.piece')!.focus()
    name(null)
  }
  const submit = () => {
    const wanted = box.current!.value.trim()
    leave()
    if (!wanted || wanted === old) return
    if (old) void change(api(pathOf(id, old), { method: 'PATCH', body: { name: wanted } }))
    else void change(api(pathOf(id, wanted), { method: 'PUT', body: { checkpoint_id: piece.head } }))
  }
  return (
    <form
      class="piece-form"
      onSubmit={(event) => {
        event.preventDefault()
        submit()
      }}
      onKeyDown={(event) => {
        if (event.key !== 'Escape') return
        event.stopPropagation()
        leave()
      }}
    >
      <input ref={box} aria-label={t('nameOf')} value={old ?? ''} maxLength={200} />
      <Button kind="main" type="submit">
        {t('save')}
      </Button>
    </form>
  )
}

const pathOf = (id: string, name: string): string => `threads/${id}/branches/${encodeURIComponent(name)}`

const clock = (at: number): string => new Intl.DateTimeFormat(language.value, { dateStyle: 'short', timeStyle: 'short' }).format(at)
