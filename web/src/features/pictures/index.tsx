import { computed, effect, signal } from '@preact/signals'
import { useRef } from 'preact/hooks'
import { attach, attached } from '../../app/drafts.ts'
import type { Feature } from '../../app/feature.ts'
import { letters } from '../../app/letters.ts'
import { current } from '../../app/route.ts'
import type { Letter } from '../../core/outbox.ts'
import { fits, KINDS, LARGEST, MOST, picturesOf, sourceOf } from '../../core/pictures.ts'
import { IconButton } from '../../ui/button.tsx'
import { toast } from '../../ui/toast.tsx'
import './pictures.css'
import { prepared } from './prepare.ts'
import { t } from './words.ts'

const over = signal(false)
/** How many files are being made pictures. */
const making = signal(0)

const sending = ({ state, body }: Letter): boolean =>
  (state === 'new' || state === 'waiting') && picturesOf(body.input.messages[0].content).length > 0

/** Who leaves the page now leaves pictures half way. */
const uploading = computed(() => making.value > 0 || letters.value.some(sending))

async function add(id: string, files: readonly File[]): Promise<void> {
  for (const one of files) {
    const name = one.name || t('pasted')
    making.value += 1
    const made = fits(one) ? await prepared(one).catch(() => null) : null
    making.value -= 1
    if (made === null) toast(t('unfit', { name, size: LARGEST / 1e6 }))
    else if (attached(id).value.length >= MOST) toast(t('many', { n: MOST }))
    else attach(id, [...attached(id).value, made])
  }
  document.querySelector<HTMLElement>('#composer')?.focus()
}

function Choose({ thread: id }: { thread: string }) {
  const input = useRef<HTMLInputElement>(null)
  const chosen = () => {
    void add(id, [...input.current!.files!])
    input.current!.value = ''
  }
  return (
    <>
      <IconButton icon="image" label={t('attach')} onClick={() => input.current!.click()} />
      <input ref={input} type="file" class="pictures-file" accept={KINDS.join()} multiple hidden onChange={chosen} />
    </>
  )
}

function Attached({ thread: id }: { thread: string }) {
  const list = attached(id).value
  if (!list.length) return null
  return (
    <ul class="pictures" aria-label={t('attached')}>
      {list.map((one) => {
        const name = one.name || t('pasted')
        return (
          <li key={one.id}>
            <img src={sourceOf(one)} alt={name} />
            <IconButton icon="close" label={t('remove', { name })} onClick={() => attach(id, list.filter((other) => other !== one))} />
          </li>
        )
      })}
    </ul>
  )
}

function Drop() {
  return over.value ? <div class="pictures-drop">{t('drop')}</div> : null
}

const filesOf = (data: DataTransfer | null): File[] => [...(data?.files ?? [])]
const brings = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') ?? false

const warn = (event: Event): void => event.preventDefault()

function start(): void {
  effect(() => {
    if (uploading.value) addEventListener('beforeunload', warn)
    else removeEventListener('beforeunload', warn)
  })
  addEventListener('paste', (event) => {
    const found = filesOf(event.clipboardData)
    // A table that is copied from a spreadsheet comes as a picture, too.
    if (!found.length || event.clipboardData?.types.includes('text/plain')) return
    event.preventDefault()
    void add(current.peek(), found)
  })
  addEventListener('dragover', (event) => {
    if (!brings(event)) return
    event.preventDefault()
    over.value = true
  })
  addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) over.value = false
  })
  addEventListener('drop', (event) => {
    over.value = false
    if (!brings(event)) return
    event.preventDefault()
    void add(current.peek(), filesOf(event.dataTransfer))
  })
}

export const feature: Feature = {
  name: 'pictures',
  slots: { composer: Choose, attached: Attached, overlay: Drop },
  start,
}
