import { drawer } from '../../app/drawer.ts'
import type { Command, Feature } from '../../app/feature.ts'
import { archive, archived, archivedAt, pinnedAt } from '../../app/list.ts'
import { openNew, route } from '../../app/route.ts'
import { row } from '../../app/rows.ts'
import type { Row } from '../../core/wire.ts'
import { Button } from '../../ui/button.tsx'
import { pin, putAway, remove } from './acts.ts'
import { Bar, Shelf } from './bar.tsx'
import { naming } from './item.tsx'
import { List } from './list.tsx'
import { begin as select } from './selection.ts'
import './threads.css'
import { t } from './words.ts'

export function begin(): void {
  openNew()
  drawer.value = false
  document.querySelector<HTMLElement>('#composer')?.focus()
}

function New() {
  return (
    <Button kind="main" icon="plus" class="new" onClick={begin} aria-current={route.value.fresh ? 'page' : undefined}>
      {t('new')}
    </Button>
  )
}

function Sidebar() {
  return (
    <>
      <New />
      <List />
      <Shelf />
      <Bar />
    </>
  )
}

/** With the conversation that is open. */
const here = (id: string, title: (row: Row) => string, act: (row: Row) => void): Command => ({
  id,
  title: () => title(row.value!),
  run: () => act(row.value!),
  when: () => row.value !== null,
})

const inList = (what: () => void): (() => void) => () => {
  drawer.value = true
  what()
}

export const feature: Feature = {
  name: 'threads',
  order: 90, // below the search
  slots: { sidebar: Sidebar },
  commands: [
    { id: 'new', title: () => t('new'), keys: 'mod+shift+o', run: begin },
    here('pin', (one) => t(pinnedAt(one) ? 'unpinHere' : 'pinHere'), (one) => pin([one])),
    here('archive', (one) => t(archivedAt(one) ? 'returnHere' : 'archiveHere'), (one) => putAway([one])),
    here('rename', () => t('renameHere'), (one) => inList(() => (naming.value = one.thread_id))()),
    here('delete', () => t('deleteHere'), (one) => remove([one])),
    { id: 'select', title: () => t('selectSome'), run: inList(select) },
    { id: 'shelf', title: () => t('showShelf'), run: inList(() => (archive.value = true)), when: () => archived.value > 0 },
  ],
}
