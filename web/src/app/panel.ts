/** Which of the panels beside the conversation is open: there is room for one. */

import { signal } from '@preact/signals'

export const panel = signal<string | null>(null)

export const toggle = (name: string): void => {
  panel.value = panel.value === name ? null : name
}
