/** What can be done with each message: say something else in its place, or look at what else was said there. */

import type { Message } from './wire.ts'

export interface Sibling {
  message_id: string | null
  preview: string | null
  checkpoint_id: string
  head: string
}

/** The answer of `GET /threads/{id}/branches/messages?ids=true`. */
export interface Path {
  head: string | null
  at: string | null
  forked_from: { thread_id: string; checkpoint_id: string } | null
  messages: {
    message: { id: string | null }
    checkpoint_id: string
    fork_from: string | null
    shown?: number
    siblings?: Sibling[]
  }[]
}

/** A part of the answer of `GET /threads/{id}/branches/map`. */
export interface Piece {
  above: number | null
  preview: string | null
  messages: number
  shown: boolean
  now: boolean
  head: string
  time: number
  names: { name: string; pinned: boolean }[]
}

/** A piece and what follows it. */
export interface Branching extends Piece {
  /** A branch ends with it. */
  last: boolean
  after: Branching[]
}

/** The pieces as trees; usually there is one. */
export function branching(pieces: readonly Piece[]): Branching[] {
  const all = pieces.map((one): Branching => ({ ...one, last: true, after: [] }))
  for (const one of all) {
    if (one.above === null) continue
    all[one.above]!.after.push(one)
    all[one.above]!.last = false
  }
  return all.filter((one) => one.above === null)
}

export interface Choice {
  shown: number
  siblings: Sibling[]
}

export interface Ways {
  /** The first checkpoint that has the message. */
  checkpoint: string
  /** Where to begin to say something else: of an answer, where the whole answer began, with its calls of tools. */
  from: string | null
  choices: Choice[]
}

/** By message. Calls of tools are shown with the answer that they lead to, and so are other ways to call them. */
export function ways(path: Path, messages: readonly Message[]): Map<string, Ways> {
  const found = new Map<string, Ways>()
  let begin: string | null = null
  let answering = false
  let choices: Choice[] = []
  path.messages.forEach(({ checkpoint_id, fork_from, shown, siblings }, place) => {
    const one = messages[place]!
    if (one.type === 'human') {
      answering = false
      choices = []
    } else if (!answering) {
      answering = true
      begin = fork_from
    }
    if (siblings) choices = [...choices, { shown: shown ?? 0, siblings }]
    found.set(one.id, { checkpoint: checkpoint_id, from: one.type === 'human' ? fork_from : begin, choices })
    if (one.type === 'human' || (one.type === 'ai' && !one.tool_calls?.length)) choices = []
  })
  return found
}

/** Whether `path` is of these messages. */
export function agrees(path: Path, messages: readonly Message[]): boolean {
  return path.messages.length === messages.length && path.messages.every((one, place) => one.message.id === messages[place]!.id)
}

/** The content of a message with other words: what is no text stays. */
export function reworded(content: Message['content'], text: string): Message['content'] {
  if (typeof content === 'string') return text
  const others = content.filter((one) => one.type !== 'text')
  return others.length ? [{ type: 'text', text }, ...others] : text
}
