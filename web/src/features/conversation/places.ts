/** Where one was in each conversation that one has left in its middle; those left at their end follow it. */

import { tab } from '../../core/keeper.ts'

/** A turn, and how far it reaches above the upper edge: heights are only known of what was seen. */
export interface Place {
  turn: string
  above: number
}

const KEY = 'threadmill.turns'
const kept = new Map<string, Place>(tab.read(KEY, []))

let storing = 0

function store(): void {
  clearTimeout(storing)
  storing = window.setTimeout(() => tab.set(KEY, JSON.stringify([...kept].slice(-50))), 150)
}

export const places = {
  get: (id: string): Place | undefined => kept.get(id),
  set(id: string, place: Place): void {
    kept.set(id, place)
    store()
  },
  delete(id: string): void {
    if (kept.delete(id)) store()
  },
}
