import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { serverNow } from '../../app/api.ts'
import { veiled } from '../../core/secrets.ts'
import { plain, type Step } from '../../core/turns.ts'
import { CopyButton } from '../../ui/copy.tsx'
import { Icon, type IconName } from '../../ui/icon.tsx'
import { Pictures } from './pictures.tsx'
import { useTimings } from './timings.ts'
import { t } from './words.ts'

const ICONS: Record<Step['status'], IconName> = {
  waiting: 'queued',
  running: 'running',
  finished: 'check',
  error: 'failed',
  stopped: 'stop',
}

export function ToolCard({ thread, step }: { thread: string | null; step: Step }) {
  const { call, status, live } = step
  const state = status === 'stopped' ? t('halted') : t(status)
  const progress = live?.status === 'running' ? live.progress : undefined
  const current = progress?.current ?? progress?.data?.progress
  const total = progress?.total
  const text = progress?.text ?? (progress?.still_working ? t('still') : undefined)
  return (
    <details class={`tool tool-${status}`} data-tool={call.name} data-status={status}>
      <summary>
        <Icon name={ICONS[status]} />
        <span class="tool-name">{call.name}</span>
        <span class="tool-text">{text ?? state}</span>
        {typeof current === 'number' && typeof total === 'number' && total > 0 && (
          <>
            <progress max={total} value={current} aria-label={call.name} />
            <span class="soft">
              {current}/{total}
            </span>
          </>
        )}
        {thread !== null && <Took thread={thread} step={step} />}
      </summary>
      <Part label={t('arguments')} text={pretty(veiled(call.args))} />
      <Pictures sources={step.images} />
      {step.result !== null && <Part label={t('result')} text={pretty(step.result)} />}
    </details>
  )
}

const seen = new Map<string, number>() // of calls that ended before one's eyes: their run may still go on

export const seconds = (ms: number): string => (ms / 1000).toFixed(1)

function Took({ thread, step }: { thread: string; step: Step }) {
  const now = useSignal(serverNow())
  const running = step.status === 'running' && step.live
  useEffect(() => {
    if (!running) return
    const timer = setInterval(() => (now.value = serverNow()), 500)
    return () => clearInterval(timer)
  }, [!running])
  const id = step.call.id
  if (step.duration_ms !== null) seen.set(id, step.duration_ms)
  const told = step.duration_ms ?? seen.get(id)
  const past = step.status !== 'running' && step.status !== 'waiting'
  const took = useTimings(thread, past && told === undefined ? id : null).tools.get(id)
  const ms = told ?? took ?? (running ? Math.max(0, now.value - running.started_at) : null)
  if (ms === null) return null
  return <span class="soft">{t('seconds', { n: seconds(ms) })}</span>
}

function Part({ label, text }: { label: string; text: string }) {
  return (
    <div class="tool-part">
      <div class="code-head">
        <span>{label}</span>
        <CopyButton text={() => text} />
      </div>
      <pre tabindex={0}>{text}</pre>
    </div>
  )
}

function pretty(value: unknown): string {
  if (typeof value !== 'string') return plain(value)
  try {
    return JSON.stringify(JSON.parse(value), null, 2)
  } catch {
    return value
  }
}
