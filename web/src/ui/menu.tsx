/** Buttons that come out of a button. Arrows go through them; Escape and a click elsewhere close them. */

import { useSignal } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { Button, IconButton } from './button.tsx'
import type { IconName } from './icon.tsx'

export interface Act {
  label: string
  icon?: IconName
  kind?: 'plain' | 'danger'
  run: () => void
}

export function Menu({ icon, label, acts }: { icon: IconName; label: string; acts: () => Act[] }) {
  const open = useSignal(false)
  const box = useRef<HTMLDivElement>(null)
  const close = () => {
    box.current?.querySelector('button')?.focus()
    open.value = false
  }
  return (
    <div class="menu-of" ref={box}>
      <IconButton icon={icon} label={label} aria-expanded={open.value} onClick={() => (open.value = !open.value)} />
      {open.value && <Acts label={label} acts={acts()} close={close} gone={() => (open.value = false)} />}
    </div>
  )
}

function Acts({ label, acts, close, gone }: { label: string; acts: Act[]; close: () => void; gone: () => void }) {
  const box = useRef<HTMLDivElement>(null)
  useLayoutEffect(() => {
    const menu = box.current!
    const { top, bottom } = menu.getBoundingClientRect()
    const frame = framed(menu).getBoundingClientRect()
    if (bottom > frame.bottom && top - frame.top > frame.bottom - top) menu.classList.add('up')
    menu.querySelector('button')?.focus()
  }, [])
  useEffect(() => {
    const outside = (event: Event) => {
      if (!box.current?.parentElement?.contains(event.target as Node)) gone()
    }
    addEventListener('pointerdown', outside)
    return () => removeEventListener('pointerdown', outside)
  }, [])
  const keys = (event: KeyboardEvent) => {
    const buttons = [...(box.current?.querySelectorAll('button') ?? [])]
    const place = buttons.indexOf(document.activeElement as HTMLButtonElement)
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0
    if (step) buttons.at((place + step) % buttons.length)?.focus()
    else if (event.key === 'Escape') close()
    else return
    event.preventDefault()
    event.stopPropagation()
  }
  return (
    <div class="menu" ref={box} onKeyDown={keys} role="group" aria-label={label}>
      {acts.map((one) => (
        <Button
          key={one.label}
          kind={one.kind ?? 'plain'}
          {...(one.icon && { icon: one.icon })}
          onClick={() => {
            close()
            one.run()
          }}
        >
          {one.label}
        </Button>
      ))}
    </div>
  )
}

/** What cuts it off. */
function framed(element: HTMLElement): HTMLElement {
  let frame = element.parentElement!
  while (frame.parentElement && getComputedStyle(frame).overflowY === 'visible') frame = frame.parentElement
  return frame
}
