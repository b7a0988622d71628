import { computed, effect, signal, useSignal } from '@preact/signals'
import type { ComponentType } from 'preact'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { api, BASE } from '../../app/api.ts'
import type { Feature } from '../../app/feature.ts'
import { next } from '../../app/next.ts'
import { send } from '../../app/outbox.ts'
import { panel, toggle } from '../../app/panel.ts'
import { open, route } from '../../app/route.ts'
import { rows } from '../../app/rows.ts'
import { run } from '../../app/runs.ts'
import { thread } from '../../app/threads.ts'
import { common } from '../../app/words.ts'
import { directionOf } from '../../core/direction.ts'
import { tab } from '../../core/keeper.ts'
import { reworded, type Choice } from '../../core/branches.ts'
import type { Said } from '../../core/turns.ts'
import type { Json, Row } from '../../core/wire.ts'
import { Button, IconButton } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'
import { toast } from '../../ui/toast.tsx'
import './branches.css'
import { choose, ready, source, start, waysOf } from './path.ts'
import { t } from './words.ts'

const EDITS = 'threadmill.edits'
/** By thread. Kept here, as a turn that is scrolled out of sight is not in the page, and by the tab, over a reload. */
const edits = signal<Record<string, { message: string; text: string }>>(tab.read(EDITS, {}))
/** The button that was pressed is gone with its version: the one in its place gets the focus. */
let focusOn: { message: string; step: number } | null = null

const GLANCE = 60 // ms

function edit(id: string, what: { message: string; text: string } | null): void {
  const { [id]: _, ...others } = edits.peek()
  edits.value = what === null ? others : { ...others, [id]: what }
}

const failed = (error: Error): void => toast(error.message)

const asking = new Set<string>()

/** Another answer. Who clicks twice wants one. */
async function again(id: string, body: Json): Promise<void> {
  if (asking.has(id)) return
  asking.add(id)
  await run(id, { input: null, ...body }).catch(failed)
  asking.delete(id)
}

function Actions({ thread: id, said }: { thread: string; said: Said }) {
  const found = waysOf(id, said.key)
  const { message } = said
  if (!found || !message || said.namespace.length) return null
  const human = said.kind === 'human'
  const { from, checkpoint } = found
  const fork = () => void forked(id, checkpoint).catch(failed)
  if (human && edits.value[id]?.message === said.key) return <Rewrite thread={id} said={said} from={from!} />
  const hint = ready.value ? {} : { disabled: true, title: t('busy') }
  return (
    <>
      {human && from && said.text && (
        <IconButton icon="edit" label={t('edit')} {...hint} onClick={() => edit(id, { message: said.key, text: said.text })} />
      )}
      {said.kind === 'ai' && from && <IconButton icon="retry" label={t('again')} {...hint} onClick={() => void again(id, { checkpoint_id: from })} />}
      <IconButton icon="branch" label={t('fork')} onClick={fork} />
      {found.choices.map((one) => (
        <Versions key={one.siblings[0]!.checkpoint_id} thread={id} message={said.key} choice={one} />
      ))}
    </>
  )
}

function Versions({ thread: id, message, choice }: { thread: string; message: string; choice: Choice }) {
  const box = useRef<HTMLSpanElement>(null)
  const { shown, siblings } = choice
  useEffect(() => {
    if (!focusOn || focusOn.message !== siblings[shown]?.message_id) return
    const [back, forth] = box.current!.querySelectorAll('button')
    const wanted = focusOn.step < 0 ? back! : forth!
    ;(wanted.disabled ? (wanted === back ? forth! : back!) : wanted).focus()
    focusOn = null
  }, [message, shown])
  const button = (step: number) => {
    const other = siblings[shown + step]
    const go = () => {
      focusOn = other!.message_id ? { message: other!.message_id, step } : null
      void choose(id, other!.head).catch(failed)
    }
    const name = t(step < 0 ? 'before' : 'after', { text: other?.preview ?? '' })
    return <IconButton icon={step < 0 ? 'left' : 'right'} label={name} disabled={!ready.value || !other} onClick={go} />
  }
  return (
    <span class="versions" role="group" aria-label={t('versions')} ref={box}>
      {button(-1)}
      <span aria-hidden="true">
        {shown + 1}/{siblings.length}
      </span>
      <span class="unseen">{t('version', { n: shown + 1, all: siblings.length })}</span>
      {button(1)}
    </span>
  )
}

function Rewrite({ thread: id, said, from }: { thread: string; said: Said; from: string }) {
  const box = useRef<HTMLTextAreaElement>(null)
  useLayoutEffect(() => box.current!.focus(), []) // who types on at once does so in it
  const { text } = edits.value[id]!
  const submit = () => {
    if (!ready.value || !text.trim()) return
    edit(id, null)
    void send(id, reworded(said.message!.content, text.trim()), text.trim(), { checkpoint_id: from })
  }
  const key = (event: KeyboardEvent) => {
    if (event.isComposing || event.keyCode === 229) return
    if (event.key === 'Escape') edit(id, null)
    else if (event.key === 'Enter' && !event.shiftKey) submit()
    else return
    event.preventDefault()
    event.stopPropagation()
  }
  return (
    <form
      class="rewrite"
      onSubmit={(event) => {
        event.preventDefault()
        submit()
      }}
    >
      <textarea
        ref={box}
        aria-label={t('editing')}
        dir={directionOf(text)}
        value={text}
        onInput={(event) => edit(id, { message: said.key, text: event.currentTarget.value })}
        onKeyDown={key}
      />
      <div class="rewrite-row">
        <span class="hint">{ready.value ? t('kept') : t('busy')}</span>
        <Button onClick={() => edit(id, null)}>{common('cancel')}</Button>
        <Button kind="main" type="submit" disabled={!ready.value || !text.trim()}>
          {t('resend')}
        </Button>
      </div>
    </form>
  )
}

async function forked(id: string, checkpoint: string): Promise<void> {
  const title = t('forked', { title: rows.value.get(id)?.title || common('untitled') })
  const metadata = { pinned: null, archived: null }
  const made = await api<Row>(`threads/${id}/fork`, { body: { checkpoint_id: checkpoint, title, metadata } })
  open(made.thread_id)
}

function ForkedFrom() {
  const from = source.value
  if (!from) return null
  const title = t('forkedFrom', { title: rows.value.get(from.thread_id)?.title || t('another') })
  const go = (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return
    event.preventDefault()
    open(from.thread_id)
  }
  return (
    <a class="forked-from" href={new URL(`t/${from.thread_id}`, BASE).href} title={title} onClick={go}>
      <Icon name="branch" />
      <span>{title}</span>
    </a>
  )
}

function Header() {
  return (
    <>
      <ForkedFrom />
      <Toggle />
    </>
  )
}

const MAP = 'map'
const loaded = signal<{ BranchMap: ComponentType<{ thread: string; close: () => void }> } | null>(null)
const wanted = computed(() => panel.value === MAP)

function Toggle() {
  if (route.value.fresh) return null
  return <IconButton icon="branch" label={t(wanted.value ? 'hide' : 'show')} aria-expanded={wanted.value} onClick={() => toggle(MAP)} />
}

function Panel({ thread: id }: { thread: string }) {
  if (!wanted.value || loaded.value === null || route.value.fresh) return null
  const { BranchMap } = loaded.value
  return <BranchMap key={id} thread={id} close={() => toggle(MAP)} />
}

/** The last question may have no answer, when that was thrown away. */
function Unanswered({ thread: id }: { thread: string }) {
  if (!ready.value || next.value !== null || thread(id).value.view.interrupts.length) return null
  return <IconButton icon="retry" label={t('again')} onClick={() => void again(id, {})} />
}

/** Not for turns that are only scrolled past. Their place is kept, so nothing moves when they come. */
function Under({ thread: id, said, last }: { thread: string; said: Said; last: boolean }) {
  const stays = useSignal(false)
  useEffect(() => {
    const timer = setTimeout(() => (stays.value = true), GLANCE)
    return () => clearTimeout(timer)
  }, [])
  if (!stays.value) return null
  return (
    <>
      {last && said.kind === 'human' && said.message && <Unanswered thread={id} />}
      <Actions thread={id} said={said} />
    </>
  )
}

export const feature: Feature = {
  name: 'branches',
  order: 40,
  slots: { turnActions: Under, header: Header, panel: Panel },
  commands: [{ id: MAP, title: () => t(wanted.value ? 'hide' : 'show'), run: () => toggle(MAP), when: () => !route.value.fresh }],
  start: () => {
    start()
    effect(() => tab.set(EDITS, JSON.stringify(edits.value)))
    effect(() => {
      if (wanted.value && loaded.peek() === null) void import('./map.tsx').then((one) => (loaded.value = one))
    })
  },
}
