import { Component } from 'preact'
import { attach, attached, draft, write } from '../../app/drafts.ts'
import { Slot } from '../../app/feature.ts'
import { language } from '../../app/lang.ts'
import { outbox } from '../../app/outbox.ts'
import { picturesOf } from '../../core/pictures.ts'
import type { Said } from '../../core/turns.ts'
import { Button } from '../../ui/button.tsx'
import { CopyButton } from '../../ui/copy.tsx'
import { Markdown } from '../../ui/markdown.tsx'
import { Pictures } from './pictures.tsx'
import { useTimings } from './timings.ts'
import { seconds, ToolCard } from './tool.tsx'
import { t } from './words.ts'

interface Props {
  /** Null: it is shared, and can only be read. */
  thread: string | null
  said: Said
  last: boolean
  busy: boolean
}

/** Drawn again when what is said in it changes, not with every word of another turn. */
export class Turn extends Component<Props> {
  override shouldComponentUpdate(next: Props): boolean {
    return next.said !== this.props.said || next.last !== this.props.last || (next.busy !== this.props.busy && next.last)
  }

  override render({ thread, said, last, busy }: Props) {
    const human = said.kind === 'human'
    return (
      <article class={`turn ${said.kind} ${said.namespace.length ? 'inner' : ''}`} data-message={said.key} data-live={said.live} tabindex={-1}>
        <h2 class="unseen">{human ? t('you') : t('assistant')}</h2>
        {said.reasoning && (
          <details class="reasoning" open={said.live && !said.text}>
            <summary>{said.live && !said.text ? t('thinking') : t('reasoning')}</summary>
            <Markdown text={said.reasoning} live={said.live} />
          </details>
        )}
        <Pictures sources={said.images} />
        {said.text && (human ? <p class="words" dir="auto">{said.text}</p> : <Markdown text={said.text} live={said.live} />)}
        {said.steps.map((one) => (
          <ToolCard key={one.call.id} thread={thread} step={one} />
        ))}
        {said.stopped && <p class="note stopped">{t('stopped')}</p>}
        <Letter said={said} />
        {!said.live && !said.letter && (human || !said.steps.length || last) && (
          <div class="turn-actions">
            {said.text && <CopyButton text={() => said.text} />}
            {thread !== null && <Slot name="turnActions" thread={thread} said={said} last={last && !busy} />}
            {thread !== null && said.kind === 'ai' && <Figures thread={thread} said={said} />}
          </div>
        )}
      </article>
    )
  }
}

/** What the answer took. */
function Figures({ thread, said }: { thread: string; said: Said }) {
  const { used } = said
  const took = useTimings(thread, said.key).answers.get(said.key)
  if (!used && !took) return null
  return (
    <span class="soft figures">
      {took && <span>{t('took', { first: seconds(took.first), all: seconds(took.all) })}</span>}
      {used && <span>{t('tokens', { input: count(used.input), output: count(used.output) })}</span>}
    </span>
  )
}

const count = (n: number): string => new Intl.NumberFormat(language.value).format(n)

function Letter({ said }: { said: Said }) {
  const letter = said.letter
  if (!letter || letter.state === 'new') return null
  if (letter.state !== 'failed') return <p class="note">{t(letter.state === 'waiting' ? 'sending' : letter.steers ? 'joins' : 'sent')}</p>
  const discard = () => {
    if (!draft(letter.thread).value && !attached(letter.thread).value.length) {
      write(letter.thread, letter.text)
      attach(letter.thread, picturesOf(letter.body.input?.messages?.[0]?.content))
    }
    void outbox.drop(letter.id)
  }
  return (
    <p class="note failed" role="alert">
      {t('notSent', { reason: letter.reason ?? '' })}{' '}
      <Button onClick={() => void outbox.retry(letter.id)}>{t('again')}</Button> <Button onClick={discard}>{t('discard')}</Button>
    </p>
  )
}
