/** What runs in a thread and what waits there, from the server's queue. */

import type { QueuedRun } from './wire.ts'

/** Those that wait: not the one that is about to begin, nor one that is held up in its middle. */
export function queued(queue: readonly QueuedRun[]): QueuedRun[] {
  const pending = queue.filter((one) => one.status === 'pending')
  const blocked = pending.length < queue.length || pending[0]?.paused
  return pending.filter((one, place) => !midway(one) && (blocked || place > 0))
}

/** The one that is held up in its middle, or is to be at its next step. */
export const held = (queue: readonly QueuedRun[]): QueuedRun | null => queue.find(midway) ?? null

export const under = (queue: readonly QueuedRun[]): QueuedRun | null => queue.find((one) => one.status === 'running') ?? null

const midway = (one: QueuedRun): boolean => one.paused && one.attempt > 0
