/** Drafts of one person on several devices: which one a box shows. */

import { contentOf, MOST, picturesOf, type Picture } from './pictures.ts'
import type { Block } from './wire.ts'

export interface Draft {
  text: string
  pictures: readonly Picture[]
}

/** What the server has; without one the content is null, and the revision, too. */
export interface Kept {
  content: string | Block[] | null
  revision: string | null
}

/** Which revision of the server this browser's draft goes on from, and whether it was changed here since then. */
export interface Base {
  thread: string
  revision: string
  changed: boolean
}

const TOGETHER = 8e6 // bytes of the pictures of a draft
const KEEPALIVE = 60_000 // bytes that a page may still send when it is left

export const heavy = (pictures: readonly Picture[]): boolean =>
  pictures.reduce((sum, one) => sum + one.base64.length, 0) * 0.75 > TOGETHER

/** What goes to other devices. Pictures that are too large stay here. */
export const toKeep = ({ text, pictures }: Draft): string | Block[] => contentOf(text, heavy(pictures) ? [] : pictures)

export const sizeOf = (content: string | Block[]): number =>
  typeof content === 'string' ? content.length : content.reduce((sum, one) => sum + (one.text ?? one.base64 ?? '').length, 0)

/** Of a request that is to be made while the page is left. */
export const light = (content: string | Block[]): boolean => sizeOf(content) * 3 < KEEPALIVE

export function draftOf(content: string | Block[]): Draft {
  if (typeof content === 'string') return { text: content, pictures: [] }
  return { text: content.find((one) => one.type === 'text')?.text ?? '', pictures: picturesOf(content) }
}

export const same = (own: string | Block[], other: string | Block[]): boolean => JSON.stringify(own) === JSON.stringify(other)

/** `keep`: nothing is to be done.    `take`: the server's is newer.    `put`: this one is, also than one that this device
 * wrote and heard no answer for.    `ask`: both are, and a person says what becomes of the two. */
export function merged(own: Draft, base: Base, theirs: Kept, device: string): 'keep' | 'take' | 'put' | 'ask' {
  const mine = toKeep(own)
  const revision = theirs.revision ?? ''
  if (same(mine, theirs.content ?? '')) return 'keep'
  if (revision === base.revision) return base.changed ? 'put' : 'keep'
  if (!base.changed) return 'take'
  if (revision.startsWith(`${device}.`)) return 'put'
  if (!mine.length) return 'take'
  return theirs.content === null ? 'put' : 'ask'
}

/** The server's in the place of this browser's, whose pictures stay if they are nowhere else. */
export function taken(own: Draft, theirs: Kept): Draft {
  const { text, pictures } = draftOf(theirs.content ?? '')
  const here = heavy(own.pictures) ? own.pictures.filter((one) => !pictures.some((other) => other.base64 === one.base64)) : []
  return { text, pictures: [...pictures, ...here] }
}

export function joined(own: Draft, theirs: Kept): Draft {
  const other = draftOf(theirs.content ?? '')
  const text = [own.text, other.text].filter((one) => one.trim()).join('\n\n')
  return { text, pictures: [...own.pictures, ...other.pictures].slice(0, MOST) }
}
