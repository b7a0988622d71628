import { signal } from '@preact/signals'

/** Of a narrow window: whether the list is over the conversation. */
export const drawer = signal(false)
