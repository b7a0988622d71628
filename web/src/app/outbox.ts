/** What people say, on its way to the server. */

import { effect } from '@preact/signals'
import { LATE_MS, Outbox, settled, type Letter } from '../core/outbox.ts'
import type { Json } from '../core/wire.ts'
import { api, ApiError, newId, passes } from './api.ts'
import { assistantOf, contextFor } from './assistants.ts'
import { cache } from './connection.ts'
import { letters } from './letters.ts'
import { rows } from './rows.ts'
import { route } from './route.ts'
import { assistantFor, leave, runOptions } from './runs.ts'
import { follow, requeue, thread } from './threads.ts'

export const outbox = new Outbox(cache, post, (now) => (letters.value = now))

/** A message of a person: on its way at once, sent as soon as it can be. Who looks at an earlier checkpoint begins a run
 * there, and does not steer. */
export async function send(id: string, content: Json, text: string, more: Json = {}, steers = false): Promise<void> {
  const message = newId()
  const from = leave(id)
  const body = {
    assistant_id: rows.value.has(id) || route.value.fresh ? assistantOf(id) : null,
    input: { messages: [{ type: 'human', id: message, content }] },
    if_not_exists: 'create',
    ...contextFor(id),
    ...runOptions(),
    ...(from === null ? {} : { checkpoint_id: from }),
    ...more,
  }
  await outbox.add({ id: message, thread: id, body, text, at: Date.now(), steers: steers && from === null })
}

async function post(letter: Letter): Promise<{ run: string } | { refused: string } | { later: true }> {
  const assistant_id = letter.body.assistant_id ?? (await assistantFor(letter.thread))
  if (assistant_id === null) return { later: true } // which there are is not known yet
  try {
    const steered = letter.steers ? await steer(letter) : null
    if (steered !== null) return { run: steered }
    if (letter.body.context && !rows.value.has(letter.thread)) await begin(letter)
    const body = { ...letter.body, assistant_id }
    const headers = { 'Idempotency-Key': letter.id }
    const made = await api<{ run_id: string }>(`threads/${letter.thread}/runs`, { body, headers })
    void follow(letter.thread).then(() => requeue(letter.thread))
    return { run: made.run_id }
  } catch (error) {
    if (passes(error) || (error as ApiError).status === 401) {
      setTimeout(() => void outbox.flush(), 4000)
      return { later: true }
    }
    return { refused: (error as ApiError).message }
  }
}

/** A conversation with settings has them from its first moment on, on every device. */
function begin({ thread: thread_id, body: { context } }: Letter): Promise<unknown> {
  return api('threads', { body: { thread_id, if_exists: 'do_nothing', metadata: { context } } })
}

/** The run that hears it; null when there is none any more. */
async function steer(letter: Letter): Promise<string | null> {
  const [{ id, content }] = letter.body.input.messages
  const body = { id: 1, method: 'input.inject', params: { message: { role: 'user', id, content } } }
  const answer = await api<Json>(`threads/${letter.thread}/commands`, { body })
  if (answer.type === 'success') return answer.result.run_id
  if (answer.error === 'no_such_run') return null
  throw new ApiError(400, answer.message)
}

/** What the server shows itself needs no copy any more. */
function settle(letter: Letter): void {
  const { view, queue, known } = thread(letter.thread).value
  if (known === 'live' && settled(letter, view, queue, Date.now())) void outbox.drop(letter.id)
}

let later: number | undefined

effect(() => {
  clearTimeout(later)
  if (letters.value.length > 0) later = setTimeout(() => (letters.value = [...letters.value]), LATE_MS)
  letters.value.forEach(settle)
})
