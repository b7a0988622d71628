import { useComputed, useSignal, useSignalEffect } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { api } from '../../app/api.ts'
import { assistantOf } from '../../app/assistants.ts'
import type { Feature } from '../../app/feature.ts'
import { panel } from '../../app/panel.ts'
import { run } from '../../app/runs.ts'
import { refresh, thread } from '../../app/threads.ts'
import { open, skipping, type Task } from '../../core/failure.ts'
import { messages } from '../../core/view.ts'
import type { Json } from '../../core/wire.ts'
import { Button } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'
import { toast } from '../../ui/toast.tsx'
import './failure.css'
import { t } from './words.ts'

interface Last {
  run_id: string
  choices: string[]
}

interface Ways {
  id: string
  last: Last | null
  busy: boolean
  act: (what: () => Promise<unknown>) => void
}

/** Ways on, when the last run did not end well. The thread is never locked: one can always write on, too. */
function Failure({ thread: id }: { thread: string }) {
  const failed = useComputed(() => {
    const { view } = thread(id).value
    const crashed = view.status === 'interrupted' && Boolean(view.error)
    return view.in_flight === null && (view.status === 'failed' || crashed) ? (view.error ?? '') : null
  })
  const last = useSignal<Last | null>(null)
  const busy = useSignal(false)
  useSignalEffect(() => {
    if (failed.value === null) last.value = null
    else void lastRun(id).then((one) => (last.value = one), () => {})
  })
  if (failed.value === null) return null
  if (failed.value.startsWith('UnknownInterruptError:'))
    return (
      <p class="note" role="status">
        {t('late')}
      </p>
    )
  const choices = last.value?.choices ?? []
  const act = async (what: () => Promise<unknown>) => {
    busy.value = true
    try {
      await what()
      await refresh(id)
    } catch (error) {
      toast(String((error as Error).message))
    }
    busy.value = false
  }
  const ways = { id, last: last.value, busy: busy.value, act: (what: () => Promise<unknown>) => void act(what) }
  const changed = failed.value.startsWith('GraphChanged:')
  return (
    <section class="failure" role="alert">
      <p>
        <Icon name="failed" /> <strong>{t(changed ? 'changed' : choices.length ? 'crashed' : 'failed')}</strong> {failed.value}
      </p>
      <div class="failure-ways">{changed ? <Changed {...ways} /> : choices.length ? <Crashed {...ways} /> : <Failed {...ways} />}</div>
      <p class="hint">{t('note')}</p>
    </section>
  )
}

function Failed({ id, last, busy, act }: Ways) {
  const calls = useComputed(() => open(messages(thread(id).value.view))).value
  const skip = async () => {
    const { tasks } = await api<{ tasks: Task[] }>(`threads/${id}/state?select=tasks`)
    const update = skipping(messages(thread(id).value.view), tasks)
    if (update) await api(`threads/${id}/state`, { body: update })
    await run(id, { input: null })
  }
  const discard = () => api(`threads/${id}/runs/${last!.run_id}`, { method: 'DELETE' })
  return (
    <>
      <Button kind="main" icon="retry" disabled={busy} onClick={() => act(() => run(id, { input: null }))}>
        {t('retry')}
      </Button>
      {calls.length > 0 && (
        <Button icon="right" disabled={busy} onClick={() => act(skip)}>
          {t('skip', { names: [...new Set(calls.map((one) => one.name))].join(', ') })}
        </Button>
      )}
      <Button icon="trash" disabled={busy || !last} onClick={() => act(discard)}>
        {t('discard')}
      </Button>
    </>
  )
}

const RECOVERIES = ['keep', 'continue', 'regenerate', 'discard'] as const

/** The server died in the middle of the run, which waits for a choice. */
function Crashed({ id, last, busy, act }: Ways) {
  return RECOVERIES.filter((one) => last!.choices.includes(one)).map((choice) => (
    <Button key={choice} disabled={busy} onClick={() => act(() => api(`threads/${id}/runs/${last!.run_id}/recover`, { body: { choice } }))}>
      {t(choice)}
    </Button>
  ))
}

/** The thread waits at a node that its graph has no longer. */
function Changed({ id, busy, act }: Ways) {
  const nodes = useSignal<string[]>([])
  const chosen = useSignal('')
  useEffect(() => {
    const found = api<{ nodes: Json[] }>(`assistants/${assistantOf(id)}/graph`)
    void found.then((graph) => (nodes.value = graph.nodes.map((one) => one.id).filter((one) => !/^__/.test(one))), () => {})
  }, [id])
  const node = chosen.value || nodes.value[0]
  return (
    <>
      {node && (
        <span class="failure-goto">
          <select aria-label={t('node')} value={node} onChange={(event) => (chosen.value = event.currentTarget.value)}>
            {nodes.value.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
          <Button kind="main" icon="play" disabled={busy} onClick={() => act(() => run(id, { command: { goto: node } }))}>
            {t('goto')}
          </Button>
        </span>
      )}
      <Button icon="clock" onClick={() => (panel.value = 'timeline')}>
        {t('earlier')}
      </Button>
      <Button icon="trash" disabled={busy} onClick={() => act(() => api(`threads/${id}/state`, { body: { values: null, as_node: '__end__' } }))}>
        {t('drop')}
      </Button>
    </>
  )
}

async function lastRun(id: string): Promise<Last | null> {
  const [runs, state] = await Promise.all([
    api<Json[]>(`threads/${id}/runs?limit=1`),
    api<Json>('threads/search', { body: { ids: [id], select: ['thread_id', 'error'] } }),
  ])
  return runs[0] ? { run_id: runs[0].run_id, choices: state[0]?.error?.choices ?? [] } : null
}

export const feature: Feature = { name: 'failure', order: 30, slots: { dock: Failure } }
