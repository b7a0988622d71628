import { signal, useComputed } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { attach, attached, draft, write } from '../../app/drafts.ts'
import { Slot, type Feature } from '../../app/feature.ts'
import { next } from '../../app/next.ts'
import { send } from '../../app/outbox.ts'
import { current, settled } from '../../app/route.ts'
import { stop } from '../../app/runs.ts'
import { thread } from '../../app/threads.ts'
import { directionOf } from '../../core/direction.ts'
import { browser } from '../../core/keeper.ts'
import { contentOf } from '../../core/pictures.ts'
import { IconButton } from '../../ui/button.tsx'
import { toast } from '../../ui/toast.tsx'
import './composer.css'
import { t } from './words.ts'

const TALLEST = 240
const STEERS = 'threadmill.steers'

/** What becomes of a message that is sent while an answer is written: it joins it, or waits. */
const steers = signal(browser.get(STEERS) !== null)

function choose(joins: boolean): void {
  steers.value = joins
  browser.set(STEERS, joins ? '1' : null)
}

function Composer({ thread: id }: { thread: string }) {
  const box = useRef<HTMLTextAreaElement>(null)
  const text = draft(id).value
  const empty = !text.trim() && !attached(id).value.length
  const state = useComputed(() => {
    const { view, queue } = thread(id).value
    const running = view.in_flight !== null
    return { running, busy: running || queue.length > 0, asked: view.interrupts.length > 0 }
  })
  const { running, busy, asked } = state.value
  const steering = running && steers.value

  useLayoutEffect(() => {
    const element = box.current!
    element.style.height = 'auto'
    element.style.height = `${Math.min(element.scrollHeight, TALLEST)}px`
  }, [text])
  useEffect(() => {
    // A finger would get a keyboard over half of the page; who closes tabs by key goes on there.
    const reached = document.activeElement?.matches('[role=tab]:focus-visible')
    if (!reached && matchMedia('(hover: hover)').matches) box.current?.focus({ preventScroll: true })
  }, [id])

  const submit = () => {
    const said = draft(id).value.trim()
    const pictures = attached(id).value
    if (!said && !pictures.length) return
    void send(id, contentOf(said, pictures), said, {}, steering)
    write(id, '') // after it is in the outbox: a reload in between has one of the two
    attach(id, [])
    settled()
  }
  const key = (event: KeyboardEvent) => {
    // While characters are being composed Enter chooses among them. Safari says so by 229 only.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return
    event.preventDefault()
    submit()
  }
  const halt = () => void stop(id).catch((error: Error) => toast(error.message))
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault()
        submit()
      }}
    >
      <Slot name="attached" thread={id} />
      <textarea
        id="composer"
        ref={box}
        rows={1}
        aria-label={t('write')}
        aria-describedby="composer-hint"
        placeholder={t('placeholder')}
        dir={directionOf(text)}
        value={text}
        onInput={(event) => write(id, event.currentTarget.value)}
        onKeyDown={key}
      />
      <div class="composer-row">
        <Slot name="composer" thread={id} />
        <span class="space" />
        {running && (
          <select class="during" aria-label={t('during')} value={String(steers.value)} onChange={(event) => choose(event.currentTarget.value === 'true')}>
            <option value="false">{t('waits')}</option>
            <option value="true">{t('joins')}</option>
          </select>
        )}
        {busy && <IconButton class="stop" icon="stop" label={t('stop')} onClick={halt} />}
        {(!busy || !empty) && (
          <IconButton class="send" icon="send" type="submit" label={t(steering ? 'steer' : busy ? 'queue' : 'send')} disabled={empty} />
        )}
      </div>
      <p id="composer-hint" class="hint">
        {asked ? t('asked') : next.value ? t('step') : running ? `${t(steering ? 'steered' : 'running')} ${t('background')}` : busy ? t('behind') : t('hint')}
      </p>
    </form>
  )
}

export const feature: Feature = {
  name: 'composer',
  order: 95, // the last in the dock
  slots: { dock: Composer },
  commands: [
    { id: 'stop', title: () => t('stop'), keys: 'mod+.', run: () => void stop(current.value) },
    { id: 'write', title: () => t('write'), keys: '/', run: () => document.querySelector<HTMLElement>('#composer')?.focus() },
  ],
}
