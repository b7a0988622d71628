/** What begins and ends runs. */

import type { Json } from '../core/wire.ts'
import { api, ApiError } from './api.ts'
import { lost } from './at.ts'
import { assistantOf, contextFor } from './assistants.ts'
import { open, route } from './route.ts'
import { rows } from './rows.ts'
import { follow, refresh, requeue } from './threads.ts'

const MODES = ['values', 'messages-tuple', 'custom']

export const runOptions = (): Json => ({ stream_mode: MODES, stream_subgraphs: true, stream_resumable: true })

/** Who says something at an earlier checkpoint goes on from it; where there is none any more, from what is shown in its place. */
export function leave(id: string): string | null {
  const { thread: shown, at } = route.value
  if (shown !== id || at === null) return null
  const missing = lost.peek()
  open(id)
  return missing ? null : at
}

/** The conversation's own. Where the list has not told it yet, the server is asked. */
export async function assistantFor(id: string): Promise<string | null> {
  if (!rows.value.has(id)) await refresh(id)
  return assistantOf(id)
}

/** Another run on a thread: an answer, a retry, a fork. */
export async function run(id: string, body: Json): Promise<void> {
  leave(id)
  const assistant_id = await assistantFor(id)
  await api(`threads/${id}/runs`, { body: { assistant_id, ...contextFor(id), ...runOptions(), ...body } })
  void follow(id)
  await requeue(id) // what may not be done during a run may not be done from now on
}

export function stop(id: string): Promise<unknown> {
  return api(`threads/${id}/stop`, { method: 'POST' }).catch((error: unknown) => {
    if (!(error instanceof ApiError && error.status === 404)) throw error
  })
}
