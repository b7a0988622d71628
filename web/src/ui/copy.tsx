import { useSignal } from '@preact/signals'
import { common } from '../app/words.ts'
import { IconButton } from './button.tsx'

export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  const area = document.createElement('textarea') // without https there is no clipboard to write to
  const before = document.activeElement
  area.value = text
  const top = document.querySelector('dialog[open]') ?? document.body // outside of a dialog nothing can be selected
  top.append(area)
  area.select()
  const done = document.execCommand('copy')
  area.remove()
  if (before instanceof HTMLElement) before.focus()
  if (!done) throw new Error('The browser did not copy.')
}

export function CopyButton({ text }: { text: () => string }) {
  const done = useSignal(false)
  const copy = async () => {
    await copyText(text())
    done.value = true
    setTimeout(() => (done.value = false), 1500)
  }
  return (
    <IconButton icon={done.value ? 'check' : 'copy'} label={done.value ? common('copied') : common('copy')} onClick={copy} />
  )
}
