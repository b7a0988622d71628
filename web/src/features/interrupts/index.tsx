import { useComputed, useSignal } from '@preact/signals'
import type { Feature } from '../../app/feature.ts'
import { run } from '../../app/runs.ts'
import { thread } from '../../app/threads.ts'
import { read, written, type Written } from '../../core/field.ts'
import { plain } from '../../core/turns.ts'
import type { Interrupt, Json } from '../../core/wire.ts'
import { Button } from '../../ui/button.tsx'
import { Input } from '../../ui/field.tsx'
import { toast } from '../../ui/toast.tsx'
import { begin, begun, forget, unanswered } from './begun.ts'
import './interrupts.css'
import { questionOf, type Choice } from './question.ts'
import { Step } from './step.tsx'
import { t } from './words.ts'

/** All questions that are open; what is answered goes in one run when the last of them is. */
function Questions({ thread: id }: { thread: string }) {
  const state = useComputed(() => {
    const { view } = thread(id).value
    return view.in_flight === null ? view.interrupts : []
  })
  const busy = useSignal(false)
  const open = unanswered(state.value)
  const first = open[0]
  if (first === undefined) return null
  const answer = async (value: Json) => {
    if (busy.peek()) return
    if (open.length > 1) return begin(first, { answer: { value } })
    const asked = state.value
    const resume = Object.fromEntries(asked.map((one) => [one.interrupt_id, one === first ? value : begun(one).answer!.value]))
    busy.value = true
    try {
      await run(id, { command: { resume }, strict_resume: true })
      forget(asked)
    } catch (error) {
      toast(String((error as Error).message))
    }
    busy.value = false
  }
  const all = state.value.length
  return (
    <section class="question" role="group" aria-label={t('asks')} data-interrupt={first.interrupt_id}>
      <div class="question-head">
        <strong>{t('asks')}</strong>
        {all > 1 && <span class="soft">{t('several', { n: all - open.length + 1, all })}</span>}
      </div>
      <One key={first.interrupt_id} asked={first} busy={busy.value} answer={answer} />
    </section>
  )
}

function One({ asked, busy, answer }: { asked: Interrupt; busy: boolean; answer: (value: Json) => void }) {
  const { title, details, choices } = questionOf(asked.value)
  const only = choices.length === 1 ? choices[0]! : null
  const chosen = only?.fields.length ? only : choices.find((one) => one.id === begun(asked).choice)
  const choose = (one: Choice) => {
    if (one.fields.length) begin(asked, { choice: one.id, fields: {} })
    else answer(one.answer({}))
  }
  return (
    <>
      {title && <p class="question-title">{title}</p>}
      {Object.keys(details).length > 0 && (
        <details class="question-details">
          <summary>{t('details')}</summary>
          <pre tabindex={0}>{plain(details)}</pre>
        </details>
      )}
      {!only && (
        <div class="question-choices">
          {choices.map((one, place) => (
            <Button
              key={one.id}
              kind={place === 0 ? 'main' : one.id === 'reject' ? 'danger' : 'plain'}
              disabled={busy}
              aria-expanded={one.fields.length ? chosen?.id === one.id : undefined}
              onClick={() => choose(one)}
            >
              {nameOf(one.id)}
            </Button>
          ))}
        </div>
      )}
      {chosen && <Form key={chosen.id} asked={asked} choice={chosen} busy={busy} answer={answer} />}
    </>
  )
}

const nameOf = (id: string): string =>
  ['approve', 'reject', 'edit', 'respond'].includes(id) ? t(id as 'approve') : id

function Form({ asked, choice, busy, answer }: { asked: Interrupt; choice: Choice; busy: boolean; answer: (value: Json) => void }) {
  const given = Object.fromEntries(choice.fields.map((one) => [one.name, written(one, one.value)]))
  const values: Record<string, Written> = { ...given, ...begun(asked).fields }
  const wrong = useSignal<Record<string, string>>({})
  const submit = (event: Event) => {
    event.preventDefault()
    const told: Record<string, Json> = {}
    wrong.value = {}
    for (const one of choice.fields) {
      try {
        told[one.name] = read(one, values[one.name]!)
      } catch {
        wrong.value = { ...wrong.value, [one.name]: t('wrong') }
      }
    }
    if (!Object.keys(wrong.value).length) answer(choice.answer(told))
  }
  return (
    <form class="question-form" onSubmit={submit}>
      {choice.fields.map((one) => (
        <Input
          key={one.name}
          field={one}
          label={one.name === 'answer' || one.name === 'response' ? t('answer') : one.label}
          value={values[one.name]!}
          set={(value) => begin(asked, { fields: { ...begun(asked).fields, [one.name]: value } })}
          wrong={wrong.value[one.name]}
        />
      ))}
      <Button kind="main" type="submit" disabled={busy}>
        {t('send')}
      </Button>
    </form>
  )
}

function Waiting({ thread: id }: { thread: string }) {
  return (
    <>
      <Questions thread={id} />
      <Step thread={id} />
    </>
  )
}

export const feature: Feature = { name: 'interrupts', order: 40, slots: { dock: Waiting } }
