import { useComputed, useSignal } from '@preact/signals'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { arrive, earlier, shown, sought } from '../../app/at.ts'
import { Slot, type Feature } from '../../app/feature.ts'
import { language } from '../../app/lang.ts'
import { lettersOf } from '../../app/letters.ts'
import { openNew, route } from '../../app/route.ts'
import { thread } from '../../app/threads.ts'
import type { Letter } from '../../core/outbox.ts'
import { queued } from '../../core/queue.ts'
import { turns } from '../../core/turns.ts'
import { Button } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'
import './conversation.css'
import { Turns, useTurns } from './list.tsx'
import { places, type Place } from './places.ts'
import { start } from './timings.ts'
import { t } from './words.ts'

const NEAR = 48 // pixels from the end that still are the end

function Conversation({ thread: id }: { thread: string }) {
  const now = thread(id).value
  const list = useComputed(() => turns(shown(id), earlier.value ? [] : lettersOf(id).filter((one) => !waits(id, one)))).value
  if (now.known === 'gone') return <Gone />
  const busy = shown(id).in_flight !== null
  if (!list.length && !busy) {
    return (
      <div class="empty">
        {(now.known !== 'empty' || route.value.fresh) && (
          <>
            <p class="hello">{t('hello')}</p>
            <Slot name="empty" thread={id} />
          </>
        )}
      </div>
    )
  }
  return <Log id={id} list={list} />
}

/** What is below what one sees. */
const left = (element: Element): number => element.scrollHeight - element.scrollTop - element.clientHeight

/** What waits in the queue is shown there. */
function waits(id: string, letter: Letter): boolean {
  return queued(thread(id).value.queue).some((one) => one.run_id === letter.run)
}

function Log({ id, list }: { id: string; list: ReturnType<typeof turns> }) {
  const now = thread(id).value
  const flight = shown(id).in_flight
  const coming = list.some((one) => one.letter?.state === 'sent')
  const busy = flight !== null || coming || list.some((one) => one.letter?.state === 'new' || one.letter?.state === 'waiting')
  const box = useRef<HTMLDivElement>(null)
  const aim = useRef<Place | null>(places.get(id) ?? null) // where one was, until a person goes on from there
  const aimed = useRef(0)
  const stuck = useRef(aim.current === null)
  const height = useRef(0)
  const away = useSignal(!stuck.current)
  const view = useTurns(box, list, () => (height.current = box.current!.scrollTop))

  /** Only a person does; what grows below does not. */
  const wentUp = (element: Element) => left(element) >= NEAR && element.scrollTop < height.current - 2
  const latest = () => {
    stuck.current = true
    aim.current = null
    places.delete(id)
    view.to(list.length - 1, 'end')
    follow()
  }
  // Who says something wants to see it, and what comes of it.
  const own = list.findLast((one) => one.letter?.state === 'new')?.key
  useLayoutEffect(() => {
    if (own !== undefined) latest()
  }, [own])
  const follow = () => {
    const element = box.current!
    if (wentUp(element)) stuck.current = false // which is told to us only with the next frame
    if (!stuck.current) return
    element.scrollTop = element.scrollHeight
    height.current = element.scrollTop
  }
  useLayoutEffect(follow)
  useLayoutEffect(() => {
    const element = box.current!
    const watcher = new ResizeObserver(follow)
    watcher.observe(element)
    watcher.observe(element.firstElementChild!)
    return () => watcher.disconnect()
  }, [id])
  useLayoutEffect(() => {
    const element = box.current!
    const place = list.findIndex((one) => one.key === aim.current?.turn)
    if (place < 0) return
    element.scrollTop = view.start(place) + aim.current!.above
    aimed.current = element.scrollTop
  })
  const seeking = sought.value?.thread === id
  useLayoutEffect(() => {
    const turn = seeking ? arrive(id) : null
    const place = list.findIndex((one) => one.key === turn)
    if (place < 0) return
    stuck.current = false
    aim.current = null
    view.to(place, 'start')
    requestAnimationFrame(() => box.current?.querySelector<HTMLElement>(`[data-index="${place}"] article`)?.focus({ preventScroll: true }))
  })

  const scrolled = () => {
    const element = box.current
    if (!element) return // it was told late
    if (Math.abs(element.scrollTop - aimed.current) > 2) aim.current = null
    if (left(element) < NEAR) stuck.current = true
    else if (wentUp(element)) stuck.current = false
    height.current = element.scrollTop
    away.value = !stuck.current
    const first = view.first()
    const turn = list[first?.index ?? -1]?.key
    if (stuck.current) places.delete(id)
    else if (first && turn && !aim.current) places.set(id, { turn, above: element.scrollTop - first.start })
  }
  const speaking = list.some((one) => one.live)
  return (
    <div class="log-frame">
      <div class="log" ref={box} onScroll={scrolled} role="log" aria-live="off" aria-label={t('log')} tabindex={0} data-turns={list.length} data-busy={busy}>
        <Turns thread={id} list={list} view={view} busy={busy} />
        <div class="log-end">
          {now.known === 'cached' && now.cachedAt && <p class="note">{t('cached', { when: clock(now.cachedAt) })}</p>}
          {flight && flight.attempt > 1 && <p class="note">{t('attempt', { n: flight.attempt })}</p>}
          {(flight !== null || coming) && !speaking && (
            <p class="note working">
              <Icon name="running" /> {t('working')}
            </p>
          )}
        </div>
      </div>
      {away.value && (
        <Button class="latest" icon="down" onClick={latest}>
          {t('latest')}
        </Button>
      )}
      {/* Said once when it begins and once when it ends, not with every word. */}
      <p class="unseen" role="status">
        {busy ? t('writing') : list.at(-1)?.kind === 'ai' ? t('answered') : ''}
      </p>
    </div>
  )
}

const clock = (at: number): string =>
  new Intl.DateTimeFormat(language.value, { dateStyle: 'short', timeStyle: 'short' }).format(at)

function Gone() {
  return (
    <div class="empty">
      <p>{t('gone')}</p>
      <Button kind="main" onClick={openNew}>
        {t('begin')}
      </Button>
    </div>
  )
}

export const feature: Feature = { name: 'conversation', slots: { main: Conversation }, start }
