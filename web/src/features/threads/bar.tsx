import { archive, archived, archivedAt, listed, pinnedAt } from '../../app/list.ts'
import { common } from '../../app/words.ts'
import type { Row } from '../../core/wire.ts'
import { Button, IconButton } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'
import { download, pin, putAway, remove } from './acts.ts'
import { chosen, end, selected, toggleAll } from './selection.ts'
import { t } from './words.ts'

/** What to do with those that are selected. */
export function Bar() {
  if (!chosen.value) return null
  const list = selected.value
  const none = list.length === 0
  const act = (what: (list: Row[]) => unknown) => () => {
    void what(list)
    end()
  }
  const escape = (event: KeyboardEvent) => {
    if (event.key !== 'Escape') return
    event.stopPropagation()
    end()
  }
  return (
    <div class="side-bar" role="toolbar" aria-label={t('selection')} onKeyDown={escape}>
      <label>
        <input
          type="checkbox"
          checked={!none && list.length === listed.value.length}
          indeterminate={!none && list.length < listed.value.length}
          onClick={toggleAll}
        />
        <span role="status">{t('selected', { n: list.length })}</span>
        <span class="unseen">{t('all')}</span>
      </label>
      <IconButton icon="pin" label={t(list.every(pinnedAt) ? 'unpin' : 'pin')} disabled={none} onClick={act(pin)} />
      <IconButton icon="archive" label={t(list.every(archivedAt) ? 'return' : 'archive')} disabled={none} onClick={act(putAway)} />
      <IconButton icon="download" label={t('export')} disabled={none} onClick={act(download)} />
      <IconButton icon="trash" label={t('delete')} disabled={none} onClick={act(remove)} />
      <IconButton icon="close" label={common('cancel')} onClick={end} />
    </div>
  )
}

/** Between what is in the list and what was put away. */
export function Shelf() {
  if (archive.value) {
    return (
      <Button class="side-shelf" icon="left" onClick={() => (archive.value = false)}>
        {t('back')}
      </Button>
    )
  }
  if (!archived.value) return null
  return (
    <button type="button" class="button side-shelf" onClick={() => (archive.value = true)}>
      <Icon name="archive" />
      {t('shelf')}
      <span class="space" />
      <span class="soft">{archived.value}</span>
    </button>
  )
}
