/** What a feature adds to the page. Features know `app`, `core` and `ui`, never each other: they meet in slots. */

import type { ComponentType, VNode } from 'preact'
import { Fragment, h } from 'preact'
import type { Said } from '../core/turns.ts'

/** The places of the page, and what each gives to what is put there. */
export interface Slots {
  /** Above everything: one line about the whole page. */
  banner: object
  /** The side column, from top to bottom. */
  sidebar: object
  /** Under the list of the side column: settings and the like. */
  sidebarFoot: object
  /** Above the conversation and its title. */
  above: object
  /** Right of a conversation's title. */
  header: { thread: string }
  /** The conversation itself. */
  main: { thread: string }
  /** Instead of the conversation while it is empty: starters. */
  empty: { thread: string }
  /** Under a turn: buttons. */
  turnActions: { thread: string; said: Said; last: boolean }
  /** Between the conversation and the box to write in, from top to bottom. */
  dock: { thread: string }
  /** Beside the conversation, or over it where there is no room. */
  panel: { thread: string }
  /** Above the box to write in: what goes with the message. */
  attached: { thread: string }
  /** In the box to write in: buttons. */
  composer: { thread: string }
  /** Over everything: dialogs, messages that go away. */
  overlay: object
}

/** Something that can be done, by a key or from the palette. */
export interface Command {
  id: string
  title: () => string
  /** Such as `mod+k`, `shift+?` or `escape`; `mod` is Ctrl, on a Mac Command. */
  keys?: string
  run: () => void
  /** False: not now. */
  when?: () => boolean
}

export interface Feature {
  name: string
  /** Of several in one slot the lower comes first; 50 if it does not matter. */
  order?: number
  slots?: { [S in keyof Slots]?: ComponentType<Slots[S]> }
  commands?: Command[]
  /** Once, when the page begins. */
  start?: () => void
}

const found = import.meta.glob<{ feature: Feature }>('../features/*/index.{ts,tsx}', { eager: true })

export const FEATURES: Feature[] = Object.values(found)
  .map((one) => one.feature)
  .sort((a, b) => (a.order ?? 50) - (b.order ?? 50) || a.name.localeCompare(b.name))

export const commands = (): Command[] => FEATURES.flatMap((one) => one.commands ?? [])

/** What all features put there. */
export function Slot<S extends keyof Slots>({ name, ...props }: { name: S } & Slots[S]): VNode {
  const parts = FEATURES.flatMap((one) => {
    const part = one.slots?.[name] as ComponentType<any> | undefined
    return part ? [h(part, { key: one.name, ...props })] : []
  })
  return h(Fragment, null, parts)
}
