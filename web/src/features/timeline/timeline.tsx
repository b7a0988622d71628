import { useComputed, useSignal, useSignalEffect } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { api } from '../../app/api.ts'
import { earlier, read } from '../../app/at.ts'
import { language } from '../../app/lang.ts'
import { open, route } from '../../app/route.ts'
import { rows } from '../../app/rows.ts'
import { thread } from '../../app/threads.ts'
import { common } from '../../app/words.ts'
import { begun, changes, gist, line, steps, type Change, type Diff, type Step, type Tree } from '../../core/timeline.ts'
import { messages } from '../../core/view.ts'
import type { Json } from '../../core/wire.ts'
import { Button, IconButton } from '../../ui/button.tsx'
import { toast } from '../../ui/toast.tsx'
import { t } from './words.ts'

const PAGE = 200

/** The steps of a thread, newest first; the one that is chosen is shown in the conversation, and its state here. */
export function Timeline({ thread: id, close }: { thread: string; close: () => void }) {
  const all = useSignal<Step[] | null>(null)
  const head = useSignal<string | null>(null)
  const before = useSignal<string | null>(null)
  const others = useSignal(false)
  const basis = useComputed(() => `${rows.value.get(id)?.updated_at} ${thread(id).value.view.in_flight === null}`)
  const load = async (from: string | null) => {
    const tree = await api<Tree>(`threads/${id}/branches?limit=${PAGE}${from ? `&before=${from}` : ''}`)
    all.value = [...(from ? (all.peek() ?? []) : []), ...steps(tree)]
    head.value = tree.head
    before.value = tree.next_before
  }
  useSignalEffect(() => {
    void basis.value
    load(null).catch(() => {})
  })
  const values = useComputed(() => thread(id).value.view.values) // not with every word that comes
  const said = useComputed(() => new Map(messages({ values: values.value }).map((one) => [one.id, one]))).value
  const here = useComputed(() => line(all.value ?? [], head.value)).value
  const chosen = route.value.at
  const shown = (all.value ?? []).filter((one) => others.value || here.has(one.id) || one.id === chosen)
  const keys = (event: KeyboardEvent) => {
    if (event.key === 'Escape') return close()
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0
    if (!step) return
    const buttons = [...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>('.step')]
    const next = buttons[buttons.indexOf(document.activeElement as HTMLElement) + step]
    if (!next) return
    event.preventDefault()
    next.focus()
  }
  return (
    <aside class="side-panel" aria-label={t('timeline')}>
      <div class="side-panel-head">
        <h2>{t('timeline')}</h2>
        <IconButton icon="close" label={common('close')} onClick={close} />
      </div>
      <label class="timeline-option">
        <input type="checkbox" checked={others.value} onChange={(event) => (others.value = event.currentTarget.checked)} />
        {t('branches')}
      </label>
      <ol class="steps" onKeyDown={keys}>
        {shown.map((one) => (
          <li key={one.id}>
            <button
              type="button"
              class={`step ${here.has(one.id) ? '' : 'other'}`}
              aria-current={(chosen ?? head.value) === one.id ? 'step' : undefined}
              data-checkpoint={one.id}
              onClick={() => open(id, one.id === head.value ? null : one.id)}
            >
              {t('step', { kind: kind(one.source), n: one.step })}
              {one.id === head.value && <strong> · {t('head')}</strong>}
              {!here.has(one.id) && ` · ${t('other')}`}
              {one.new.map((message) => {
                const known = said.get(message)
                return known && <span class="step-said">{gist(known)}</span>
              })}
              <span class="soft">{[clock(one.time), ...about(one)].join(' · ')}</span>
            </button>
          </li>
        ))}
        {shown.length === 0 && <li class="hint">{all.value === null ? t('loading') : t('none')}</li>}
        {before.value !== null && (
          <li>
            <Button onClick={() => void load(before.value)}>{t('older')}</Button>
          </li>
        )}
      </ol>
      <Inspector thread={id} step={(all.value ?? []).find((one) => one.id === (chosen ?? head.value)) ?? null} />
    </aside>
  )
}

const KINDS = ['input', 'loop', 'update', 'fork'] as const
const kind = (source: string): string => ((KINDS as readonly string[]).includes(source) ? t(source as 'input') : source)

function about(one: Step): string[] {
  const said = one.new.length ? [t('messages', { n: one.new.length })] : []
  const next = one.next.filter((name) => name !== '__start__')
  return next.length ? [...said, t('next', { next: next.join(', ') })] : said
}

const clock = (at: number): string =>
  new Intl.DateTimeFormat(language.value, { dateStyle: 'short', timeStyle: 'medium' }).format(at)

interface Seen {
  at: string
  changed: Change[]
  took: string
}

/** What the step did to the state, as the server compares it with the step before; the whole state when it is asked for. */
function Inspector({ thread: id, step }: { thread: string; step: Step | null }) {
  const seen = useSignal<Seen | null>(null)
  const whole = useSignal<{ at: string; values: Json } | null>(null)
  const at = step?.id ?? null
  const values = async () => (earlier.peek()?.at === at ? earlier.peek()! : await read(id, at!)).values
  const look = async (): Promise<Seen> => {
    if (step!.parent === null) return { at: at!, changed: begun(await values()), took: '' }
    const found = await api<Diff>(`threads/${id}/diff?a=${step!.parent}&b=${at}`)
    const { seconds, tokens } = found.b
    const took = [t('seconds', { n: seconds.toFixed(2) }), ...(tokens.total_tokens ? [t('tokens', { n: tokens.total_tokens })] : [])]
    return { at: at!, changed: changes(found), took: took.join(' · ') }
  }
  useEffect(() => {
    if (at === null) return
    let over = false
    look().then(
      (found) => {
        if (!over) seen.value = found
      },
      (error: Error) => toast(error.message),
    )
    return () => {
      over = true
    }
  }, [at])
  if (at === null) return null
  const state = seen.value?.at === at ? seen.value : null
  const open = async () => {
    if (whole.value?.at !== at) whole.value = { at, values: await values() }
  }
  return (
    <section class="inspector" aria-label={t('state')} tabindex={0} key={at}>
      {state === null ? (
        <p class="hint">{t('loading')}</p>
      ) : (
        <>
          <h3>{t('changed')}</h3>
          {state.took && <p class="hint">{state.took}</p>}
          {state.changed.length === 0 && <p class="hint">{t('unchanged')}</p>}
          {state.changed.map((one) => (
            <Changed key={`${one.key} ${one.id}`} change={one} />
          ))}
          <details onToggle={(event) => event.currentTarget.open && void open().catch((error: Error) => toast(error.message))}>
            <summary>{t('whole')}</summary>
            {whole.value?.at === at && <pre tabindex={0}>{JSON.stringify(whole.value.values, null, 2)}</pre>}
          </details>
        </>
      )}
    </section>
  )
}

function Changed({ change }: { change: Change }) {
  const { key, before, after } = change
  const both = before !== undefined && after !== undefined
  return (
    <div class="change">
      <code>{key}</code> <span class="soft">{both ? '' : before === undefined ? t('added') : t('removed')}</span>
      {before !== undefined && <Value name={both ? t('before') : t('removed')} value={before} />}
      {after !== undefined && <Value name={both ? t('after') : t('added')} value={after} />}
    </div>
  )
}

function Value({ name, value }: { name: string; value: Json }) {
  return (
    <>
      <span class="unseen">{name}</span>
      <pre tabindex={0}>{JSON.stringify(value, null, 2)}</pre>
    </>
  )
}
