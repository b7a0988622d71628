import { useComputed, useSignal, useSignalEffect } from '@preact/signals'
import { api } from '../../app/api.ts'
import type { Feature } from '../../app/feature.ts'
import { run } from '../../app/runs.ts'
import { refresh, thread } from '../../app/threads.ts'
import type { Json } from '../../core/wire.ts'
import { Button } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'
import { toast } from '../../ui/toast.tsx'
import './failure.css'
import { t } from './words.ts'

interface Last {
  run_id: string
  error: { error: string; message: string; choices?: string[] } | null
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
  const choices = last.value?.error?.choices ?? []
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
  const recover = (choice: string) => act(() => api(`threads/${id}/runs/${last.value!.run_id}/recover`, { body: { choice } }))
  const discard = () => act(() => api(`threads/${id}/runs/${last.value!.run_id}`, { method: 'DELETE' }))
  return (
    <section class="failure" role="alert">
      <p>
        <Icon name="failed" /> <strong>{choices.length ? t('crashed') : t('failed')}</strong> {failed.value}
      </p>
      <div class="failure-ways">
        {choices.length ? (
          choices.map((one) => (
            <Button key={one} disabled={busy.value} onClick={() => recover(one)}>
              {['keep', 'continue', 'regenerate', 'discard'].includes(one) ? t(one as 'keep') : one}
            </Button>
          ))
        ) : (
          <>
            <Button kind="main" icon="retry" disabled={busy.value} onClick={() => act(() => run(id, { input: null }))}>
              {t('retry')}
            </Button>
            <Button icon="trash" disabled={busy.value || !last.value} onClick={discard}>
              {t('discard')}
            </Button>
          </>
        )}
      </div>
      <p class="hint">{t('note')}</p>
    </section>
  )
}

async function lastRun(id: string): Promise<Last | null> {
  const [runs, state] = await Promise.all([
    api<Json[]>(`threads/${id}/runs?limit=1`),
    api<Json>('threads/search', { body: { ids: [id], select: ['thread_id', 'error'] } }),
  ])
  return runs[0] ? { run_id: runs[0].run_id, error: state[0]?.error ?? null } : null
}

export const feature: Feature = { name: 'failure', order: 30, slots: { dock: Failure } }
