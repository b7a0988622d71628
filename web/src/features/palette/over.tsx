import { useSignal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { commands, type Command } from '../../app/feature.ts'
import { keysShown } from '../../app/keys.ts'
import { open } from '../../app/route.ts'
import { hidden, rows } from '../../app/rows.ts'
import { common } from '../../app/words.ts'
import { ranked } from '../../core/search.ts'
import type { Row } from '../../core/wire.ts'
import { Dialog, Sheet } from '../../ui/dialog.tsx'
import './palette.css'
import { t } from './words.ts'

const MOST = 30

interface Props {
  close: () => void
}

const titleOf = (row: Row): string => row.title || common('untitled')

export function Palette({ close }: Props) {
  const query = useSignal('')
  const at = useSignal(0)
  const list = useRef<HTMLDivElement>(null)
  const possible = commands().filter((one) => one.id !== 'palette' && (one.when?.() ?? true))
  const lately = [...rows.value.values()]
    .filter((one) => !hidden.value.has(one.thread_id))
    .sort((a, b) => (a.last_activity_at < b.last_activity_at ? 1 : -1))
  const actions = ranked(possible, (one) => one.title(), query.value)
  const threads = ranked(lately, titleOf, query.value).slice(0, MOST)
  const count = actions.length + threads.length
  const chosen = Math.min(at.value, count - 1)
  useEffect(() => list.current?.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' }), [chosen])
  const act = (what: () => void) => {
    close()
    setTimeout(what) // when the focus is back
  }
  const go = (place: number) => {
    const command = actions[place]
    const thread = threads[place - actions.length]
    if (command) act(command.run)
    else if (thread) act(() => open(thread.thread_id))
  }
  const keys = (event: KeyboardEvent) => {
    if (event.isComposing || !count) return
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0
    if (step) at.value = (chosen + step + count) % count
    else if (event.key === 'Enter') go(chosen)
    else return
    event.preventDefault()
  }
  const option = (place: number, name: string, more?: ComponentChildren) => (
    <div role="option" key={place} id={`palette-${place}`} aria-selected={place === chosen} onClick={() => go(place)}>
      <span>{name}</span>
      {more}
    </div>
  )
  return (
    <Dialog name={t('palette')} kind="palette" close={close}>
      <input
        role="combobox"
        aria-label={t('field')}
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={count ? `palette-${chosen}` : undefined}
        aria-autocomplete="list"
        autocomplete="off"
        placeholder={t('field')}
        value={query.value}
        onInput={(event) => {
          query.value = event.currentTarget.value
          at.value = 0
        }}
        onKeyDown={keys}
      />
      <div role="listbox" id="palette-list" aria-label={t('palette')} ref={list}>
        {actions.length > 0 && (
          <div role="group" aria-label={t('actions')}>
            <div class="palette-group" aria-hidden="true">
              {t('actions')}
            </div>
            {actions.map((one, place) => option(place, one.title(), one.keys && <kbd>{keysShown(one.keys)}</kbd>))}
          </div>
        )}
        {threads.length > 0 && (
          <div role="group" aria-label={t('threads')}>
            <div class="palette-group" aria-hidden="true">
              {t('threads')}
            </div>
            {threads.map((one, place) => option(actions.length + place, titleOf(one)))}
          </div>
        )}
      </div>
      <p class={count ? 'unseen' : 'hint'} role="status">
        {count ? t('count', { n: count }) : t('none')}
      </p>
    </Dialog>
  )
}

export function Keys({ close }: Props) {
  const fixed = [
    ['Enter', t('send')],
    [keysShown('shift+Enter'), t('line')],
    ['Tab', t('tab')],
    ['↑ ↓', t('move')],
    ['Esc', t('leave')],
    ['F2', t('rename')],
    ['Delete', t('delete')],
    [keysShown('shift+↓'), t('select')],
    ['Delete', t('closeTab')],
    [`${keysShown('shift+←')} →`, t('moveTab')],
  ]
  const known = commands().flatMap((one: Command) => (one.keys ? [[keysShown(one.keys), one.title()]] : []))
  return (
    <Sheet name={t('keys')} kind="keys" close={close}>
      <table>
        <thead>
          <tr>
            <th scope="col">{t('does')}</th>
            <th scope="col">{t('key')}</th>
          </tr>
        </thead>
        <tbody>
          {[...fixed, ...known].map(([keys, does]) => (
            <tr key={does}>
              <td>{does}</td>
              <td>
                <kbd>{keys}</kbd>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Sheet>
  )
}
