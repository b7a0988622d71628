/** Messages of this browser that the server does not show yet. */

import { signal } from '@preact/signals'
import type { Letter } from '../core/outbox.ts'

export const letters = signal<readonly Letter[]>([])
export const lettersOf = (id: string): Letter[] => letters.value.filter((one) => one.thread === id)
