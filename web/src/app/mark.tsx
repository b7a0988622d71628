/** What a conversation is at, as the list and the tabs show it: never by its colour alone. */

import type { Row } from '../core/wire.ts'
import { Icon, type IconName } from '../ui/icon.tsx'
import { common } from './words.ts'

const ICONS = {
  running: 'running',
  queued: 'queued',
  paused: 'paused',
  waiting: 'waiting',
  failed: 'failed',
  unread: 'check',
} as const satisfies Record<string, IconName>

export type State = keyof typeof ICONS

export function stateOf(row: Row, here: boolean): State | null {
  if (row.status !== 'idle') return row.status
  return row.unread && !here ? 'unread' : null
}

export function Mark({ state, short = false }: { state: State; short?: boolean }) {
  return (
    <span class={`state state-${state}`} title={common(state)}>
      <Icon name={ICONS[state]} />
      <span class={short ? 'unseen' : undefined}>{common(state)}</span>
    </span>
  )
}
