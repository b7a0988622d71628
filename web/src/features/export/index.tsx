import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { file } from '../../app/api.ts'
import type { Feature } from '../../app/feature.ts'
import { current, route } from '../../app/route.ts'
import { row } from '../../app/rows.ts'
import { Button, IconButton } from '../../ui/button.tsx'
import { toast } from '../../ui/toast.tsx'
import './export.css'
import { t } from './words.ts'

const ENDINGS = { markdown: 'md', json: 'json', bundle: 'ndjson' } as const
type Format = keyof typeof ENDINGS
const FORMATS = Object.keys(ENDINGS) as Format[]

/** By a request of the page, as a link would have no token. */
async function save(format: Format): Promise<void> {
  const id = current.peek()
  try {
    const address = URL.createObjectURL(await file(`threads/${id}/export?format=${format}`))
    const name = (row.peek()?.title || id).replace(/[\\/:*?"<>|\s\p{Cc}]+/gu, ' ').trim().slice(0, 80)
    const link = Object.assign(document.createElement('a'), { href: address, download: `${name || id}.${ENDINGS[format]}` })
    link.click()
    setTimeout(() => URL.revokeObjectURL(address), 60_000)
  } catch (error) {
    toast((error as Error).message)
  }
}

function Export() {
  const shown = useSignal(false)
  const box = useRef<HTMLDivElement>(null)
  const open = shown.value
  useEffect(() => {
    if (!open) return
    const element = box.current!
    element.querySelector<HTMLElement>('.menu button')?.focus()
    const outside = (event: Event) => {
      if (!element.contains(event.target as Node)) shown.value = false
    }
    addEventListener('pointerdown', outside)
    return () => removeEventListener('pointerdown', outside)
  }, [open])
  if (route.value.fresh) return null
  const close = () => {
    shown.value = false
    box.current?.querySelector('button')?.focus()
  }
  const keys = (event: KeyboardEvent) => {
    const buttons = [...(box.current?.querySelectorAll<HTMLElement>('.menu button') ?? [])]
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0
    if (open && event.key === 'Escape') close()
    else if (open && step) buttons.at((buttons.indexOf(document.activeElement as HTMLElement) + step) % buttons.length)?.focus()
    else return
    event.preventDefault()
    event.stopPropagation()
  }
  return (
    <div class="export" ref={box} onKeyDown={keys}>
      <IconButton icon="download" label={t('export')} aria-expanded={open} onClick={() => (shown.value = !open)} />
      {open && (
        <div class="menu" role="group" aria-label={t('export')}>
          {FORMATS.map((one) => (
            <Button
              key={one}
              onClick={() => {
                close()
                void save(one)
              }}
            >
              {t(one)}
            </Button>
          ))}
        </div>
      )}
    </div>
  )
}

export const feature: Feature = {
  name: 'export',
  order: 70,
  slots: { header: Export },
  commands: FORMATS.map((one) => ({
    id: `export-${one}`,
    title: () => t(one),
    run: () => void save(one),
    when: () => !route.value.fresh,
  })),
}
