/** A sentence that goes away by itself, with something to do about it. */

import { signal } from '@preact/signals'
import { common } from '../app/words.ts'
import { Button, IconButton } from './button.tsx'

interface Toast {
  id: number
  text: string
  action?: { label: string; run: () => void }
  ended?: () => void
}

const shown = signal<Toast[]>([])
let count = 0

/** `ended` is called when its time is over and nobody has acted. */
export function toast(text: string, more: Omit<Toast, 'id' | 'text'> = {}, ms = 6000): void {
  const id = ++count
  shown.value = [...shown.value, { id, text, ...more }]
  setTimeout(() => close(id, true), ms)
}

function close(id: number, over: boolean): void {
  const one = shown.value.find((other) => other.id === id)
  shown.value = shown.value.filter((other) => other.id !== id)
  if (over) one?.ended?.()
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.value.map((one) => (
        <div class="toast" key={one.id}>
          <span>{one.text}</span>
          {one.action && (
            <Button
              onClick={() => {
                close(one.id, false)
                one.action!.run()
              }}
            >
              {one.action.label}
            </Button>
          )}
          <IconButton icon="close" label={common('close')} onClick={() => close(one.id, true)} />
        </div>
      ))}
    </div>
  )
}
