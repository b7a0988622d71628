/** What can be done with conversations, one or many. What the server refuses is shown again, with its reason. */

import { api, ApiError, each, file } from '../../app/api.ts'
import { archivedAt, pinnedAt } from '../../app/list.ts'
import { current, openNew } from '../../app/route.ts'
import { hidden, patchAll, rows } from '../../app/rows.ts'
import { common } from '../../app/words.ts'
import type { Json, Row } from '../../core/wire.ts'
import { save } from '../../ui/save.ts'
import { toast } from '../../ui/toast.tsx'
import { t } from './words.ts'

const FEW = 20
const MOST = 1000 // in one request

const failed = (error: unknown): void => toast(String((error as Error).message))

const name = (list: Row[], one: 'deleted' | 'archived' | 'returned', many: 'deletedAll' | 'archivedAll' | 'returnedAll') =>
  list.length === 1 ? t(one, { title: list[0]!.title || common('untitled') }) : t(many, { n: list.length })

const change = (list: Row[], metadata: (row: Row) => Json): Promise<void> =>
  patchAll(new Map(list.map((row) => [row.thread_id, { metadata: metadata(row) }])))

/** Those that are not pinned yet; all are let go when they are. */
export function pin(list: Row[]): void {
  const loose = list.filter((row) => !pinnedAt(row))
  const pinned = loose.length ? Date.now() : null
  void change(loose.length ? loose : list, () => ({ pinned })).catch(failed)
}

/** Those that are not in the archive yet; all are taken out of it when they are. */
export function putAway(list: Row[]): void {
  const here = list.filter((row) => !archivedAt(row))
  const away = here.length > 0
  const moved = away ? here : list
  void change(moved, () => (away ? { archived: Date.now(), pinned: null } : { archived: null })).catch(failed)
  const back = ({ metadata }: Row) => ({ archived: metadata.archived ?? null, pinned: metadata.pinned ?? null })
  const undo = () => void change(moved, back).catch(failed)
  const said = away ? name(moved, 'archived', 'archivedAll') : name(moved, 'returned', 'returnedAll')
  toast(said, { action: { label: common('undo'), run: undo } })
}

const BUSY = ['running', 'queued', 'paused']

/** Somebody has said something in it since, in another tab or on another device; what was under way is nobody's word. */
const spoken = (row: Row): boolean =>
  !BUSY.includes(row.status) && (rows.peek().get(row.thread_id) ?? row).last_activity_at !== row.last_activity_at

/** Gone at once, deleted when the time to undo it is over, or the page closes; not if something was said in it till then. */
export function remove(list: Row[]): void {
  const ids = list.map((row) => row.thread_id)
  hidden.value = new Set([...hidden.value, ...ids])
  if (ids.includes(current.value)) openNew()
  let over = false
  const end = (): boolean => {
    removeEventListener('pagehide', finish)
    return over || !(over = true)
  }
  const show = (back: string[]) => (hidden.value = new Set([...hidden.value].filter((one) => !back.includes(one))))
  const finish = () => {
    if (end()) return
    const kept = list.filter(spoken)
    show(kept.map((row) => row.thread_id))
    for (const row of kept) toast(t('spoken', { title: row.title || common('untitled') }))
    const gone = ids.filter((id) => !kept.some((row) => row.thread_id === id))
    void erase(gone).catch((error) => {
      show(gone)
      failed(error)
    })
  }
  const undo = () => {
    end()
    show(ids)
  }
  addEventListener('pagehide', finish)
  toast(name(list, 'deleted', 'deletedAll'), { action: { label: common('undo'), run: undo }, ended: finish })
}

/** Requests that outlive the page. */
async function erase(ids: string[]): Promise<void> {
  if (ids.length <= FEW) {
    await Promise.all(ids.map(erased))
    return
  }
  for (let at = 0; at < ids.length; at += MOST) {
    const thread_ids = ids.slice(at, at + MOST)
    const { pruned_count } = await api<Json>('threads/prune', { body: { thread_ids }, keepalive: true })
    if (pruned_count < thread_ids.length) await each(thread_ids, erased) // what runs is not pruned
  }
}

async function erased(id: string): Promise<void> {
  try {
    await api(`threads/${id}`, { method: 'DELETE', keepalive: true })
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 404)) throw error
  }
}

/** Bundles that follow each other in one file, as `POST /threads/import` takes them. */
export async function download(list: Row[]): Promise<void> {
  const parts = new Map<string, Blob>()
  try {
    await each(list, async ({ thread_id: id }) => parts.set(id, await file(`threads/${id}/export`)))
    save(new Blob(list.map((row) => parts.get(row.thread_id)!)), `${t('file')}.ndjson`)
  } catch (error) {
    failed(error)
  }
}
