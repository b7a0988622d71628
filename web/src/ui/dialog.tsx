import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { common } from '../app/words.ts'
import { IconButton } from './button.tsx'
import './dialog.css'

interface Props {
  name: string
  kind: string
  close: () => void
  children: ComponentChildren
}

/** Over the page. The browser keeps the focus inside, gives it back, and closes it with Escape. */
export function Dialog({ name, close, kind, children }: Props) {
  const box = useRef<HTMLDialogElement>(null)
  const gone = useRef(false)
  useEffect(() => {
    const element = box.current!
    element.showModal()
    return () => {
      gone.current = true // its event comes later, when perhaps the next one is open
      element.close()
    }
  }, [])
  return (
    <dialog ref={box} class={`over ${kind}`} aria-label={name} onClose={() => gone.current || close()} onClick={(event) => event.target === box.current && close()}>
      {children}
    </dialog>
  )
}

/** The same with its name above, and a button that closes it. */
export function Sheet({ children, ...rest }: Props) {
  return (
    <Dialog {...rest}>
      <div class="over-head">
        <h2>{rest.name}</h2>
        <IconButton icon="close" label={common('close')} onClick={rest.close} />
      </div>
      <div class="over-body" tabindex={0}>
        {children}
      </div>
    </Dialog>
  )
}
