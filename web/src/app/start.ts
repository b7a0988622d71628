/** The page begins. */

import { effect, untracked } from '@preact/signals'
import { token, TOKEN } from './api.ts'
import { loadAssistants } from './assistants.ts'
import { connection, link, wake } from './connection.ts'
import { feed } from './feed.ts'
import { lettersOf } from './letters.ts'
import { outbox } from './outbox.ts'
import { route } from './route.ts'
import { listKnown, row, rows } from './rows.ts'
import { follow, read } from './threads.ts'

export async function start(): Promise<void> {
  addEventListener('online', wake)
  // Who logs in or out in one tab does so in all: they have one connection.
  addEventListener('storage', (event) => {
    if (event.key === TOKEN) location.reload()
  })
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return
    wake()
    void post() // those of a tab that was closed, too
    if (row.value?.unread) void read(row.value.thread_id)
  })
  effect(() => {
    const { thread: id, fresh } = route.value
    // What this tab has just begun is followed when the server has it.
    const begun = untracked(() => lettersOf(id).length > 0 && !rows.value.has(id))
    if (!fresh && !begun) untracked(() => void follow(id))
  })
  effect(() => {
    if (row.value?.unread && !document.hidden) void read(row.value.thread_id)
  })
  effect(() => {
    if (link.value.phase === 'open') untracked(() => void post())
  })
  connection.start(token.value)
  await feed()
  void post()
  await loadAssistants()
  listKnown.value ??= 'live'
  void outbox.flush()
}

async function post(): Promise<void> {
  await outbox.load()
  await outbox.flush()
}
