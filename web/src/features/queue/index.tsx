import { useEffect, useRef } from 'preact/hooks'
import { api } from '../../app/api.ts'
import type { Feature } from '../../app/feature.ts'
import { letters } from '../../app/letters.ts'
import { outbox } from '../../app/outbox.ts'
import { requeue, thread } from '../../app/threads.ts'
import { held, queued, under } from '../../core/queue.ts'
import type { QueuedRun } from '../../core/wire.ts'
import { Button, IconButton } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'
import { toast } from '../../ui/toast.tsx'
import './queue.css'
import { t } from './words.ts'

/** The button that was pressed may be at an end of the list now, and cannot be pressed again: the other one gets the focus. */
let focusOn: { run: string; step: number } | null = null

const pathOf = (id: string, run: QueuedRun): string => `threads/${id}/runs/${run.run_id}`

async function change(id: string, what: Promise<unknown>): Promise<void> {
  await what.catch((error: Error) => toast(error.message))
  await requeue(id)
}

const set = (id: string, run: QueuedRun, body: { position: number } | { paused: boolean }): Promise<void> =>
  change(id, api(pathOf(id, run), { method: 'PATCH', body }))

function Queue({ thread: id }: { thread: string }) {
  const { queue } = thread(id).value
  const list = queued(queue)
  const stopped = held(queue)
  return (
    <>
      {stopped && (
        <section class="queue held" aria-label={t('paused')}>
          <p role="status">
            <Icon name="paused" /> {t(stopped.status === 'running' ? 'pausing' : 'held')}
          </p>
          <Button kind="main" icon="play" onClick={() => void set(id, stopped, { paused: false })}>
            {t('resume')}
          </Button>
        </section>
      )}
      {list.length > 0 && (
        <section class="queue" aria-label={t('queue')}>
          <h2>{t('queue')}</h2>
          <ol>
            {list.map((one, place) => (
              <Waiting key={one.run_id} id={id} run={one} first={place === 0} last={place === list.length - 1} />
            ))}
          </ol>
        </section>
      )}
    </>
  )
}

function Waiting({ id, run, first, last }: { id: string; run: QueuedRun; first: boolean; last: boolean }) {
  const row = useRef<HTMLLIElement>(null)
  useEffect(() => {
    if (focusOn?.run !== run.run_id) return
    const [up, down] = row.current!.querySelectorAll<HTMLButtonElement>('.queue-move')
    const [wanted, other] = focusOn.step < 0 ? [up!, down!] : [down!, up!]
    ;(wanted.disabled ? other : wanted).focus()
    focusOn = null
  }, [run.position])
  const move = (step: number) => {
    focusOn = { run: run.run_id, step }
    void set(id, run, { position: Math.max(0, run.position! + step) })
  }
  const cancel = async () => {
    const letter = letters.value.find((one) => one.run === run.run_id)
    if (letter) await outbox.drop(letter.id) // the server has it: a reload in between shows what it says
    await change(id, api(`${pathOf(id, run)}/cancel?wait=1`, { method: 'POST' }))
  }
  return (
    <li data-run={run.run_id} ref={row}>
      <span class="queue-text">{run.asked ?? t('nothing')}</span>
      {run.paused && (
        <>
          <span class="soft">{t('paused')}</span>
          <Button icon="play" onClick={() => void set(id, run, { paused: false })}>
            {t('resume')}
          </Button>
        </>
      )}
      <IconButton class="queue-move" icon="up" label={t('up')} disabled={first} onClick={() => move(-1)} />
      <IconButton class="queue-move" icon="down" label={t('down')} disabled={last} onClick={() => move(1)} />
      <IconButton icon="close" label={t('cancel')} onClick={() => void cancel()} />
    </li>
  )
}

/** At the next step: what is being said or done is said and done first. */
function Pause({ thread: id }: { thread: string }) {
  const run = under(thread(id).value.queue)
  if (!run || run.paused) return null
  return <IconButton icon="paused" label={t('pause')} onClick={() => void set(id, run, { paused: true })} />
}

export const feature: Feature = { name: 'queue', order: 50, slots: { dock: Queue, composer: Pause } }
