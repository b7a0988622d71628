import { useComputed } from '@preact/signals'
import { api } from '../../app/api.ts'
import type { Feature } from '../../app/feature.ts'
import { letters } from '../../app/letters.ts'
import { outbox } from '../../app/outbox.ts'
import { requeue, thread } from '../../app/threads.ts'
import type { QueuedRun } from '../../core/wire.ts'
import { Button, IconButton } from '../../ui/button.tsx'
import { toast } from '../../ui/toast.tsx'
import './queue.css'
import { t } from './words.ts'

function Queue({ thread: id }: { thread: string }) {
  const waiting = useComputed(() => thread(id).value.queue.filter((one) => one.status === 'pending'))
  const running = useComputed(() => thread(id).value.queue.some((one) => one.status === 'running'))
  // The first that waits is about to begin, unless one runs before it or it is held up.
  const list = waiting.value.filter((one, place) => running.value || one.paused || place > 0)
  if (!list.length) return null
  return (
    <section class="queue" aria-label={t('queue')}>
      <h2>{t('queue')}</h2>
      <ol>
        {list.map((one, place) => (
          <Waiting key={one.run_id} id={id} run={one} first={place === 0} last={place === list.length - 1} />
        ))}
      </ol>
    </section>
  )
}

function Waiting({ id, run, first, last }: { id: string; run: QueuedRun; first: boolean; last: boolean }) {
  const path = `threads/${id}/runs/${run.run_id}`
  const change = async (what: Promise<unknown>) => {
    await what.catch((error: Error) => toast(error.message))
    await requeue(id)
  }
  const move = (by: number) => change(api(path, { method: 'PATCH', body: { position: Math.max(0, run.position! + by) } }))
  const cancel = async () => {
    await change(api(`${path}/cancel?wait=1`, { method: 'POST' }))
    const letter = letters.value.find((one) => one.run === run.run_id)
    if (letter) await outbox.drop(letter.id)
  }
  return (
    <li data-run={run.run_id}>
      <span class="queue-text">{run.asked ?? t('nothing')}</span>
      {run.paused && (
        <>
          <span class="soft">{t('paused')}</span>
          <Button icon="play" onClick={() => void change(api(path, { method: 'PATCH', body: { paused: false } }))}>
            {t('resume')}
          </Button>
        </>
      )}
      <IconButton icon="up" label={t('up')} disabled={first} onClick={() => void move(-1)} />
      <IconButton icon="down" label={t('down')} disabled={last} onClick={() => void move(1)} />
      <IconButton icon="close" label={t('cancel')} onClick={() => void cancel()} />
    </li>
  )
}

export const feature: Feature = { name: 'queue', order: 50, slots: { dock: Queue } }
