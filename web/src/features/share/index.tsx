import { signal } from '@preact/signals'
import { api } from '../../app/api.ts'
import type { Feature } from '../../app/feature.ts'
import { current, route } from '../../app/route.ts'
import { IconButton } from '../../ui/button.tsx'
import { t } from './words.ts'

const offered = signal(false) // by the server
const over = signal<string | null>(null) // the thread whose links are shown
const loaded = signal<typeof import('./links.tsx') | null>(null)

async function show(): Promise<void> {
  over.value = current.value
  loaded.value ??= await import('./links.tsx')
}

const possible = (): boolean => offered.value && !route.value.fresh

function Share() {
  return possible() ? <IconButton icon="link" label={t('share')} onClick={() => void show()} /> : null
}

function Over() {
  if (over.value === null || loaded.value === null) return null
  const { Links } = loaded.value
  return <Links thread={over.value} close={() => (over.value = null)} />
}

export const feature: Feature = {
  name: 'share',
  order: 69,
  slots: { header: Share, overlay: Over },
  commands: [{ id: 'share', title: () => t('share'), run: () => void show(), when: possible }],
  start() {
    api<{ flags: { sharing?: boolean } }>('info').then(
      ({ flags }) => (offered.value = flags.sharing === true),
      () => {}, // it may be left out, or out of reach: then nothing is offered
    )
  },
}
