import { signal } from '@preact/signals'
import type { Feature } from '../../app/feature.ts'
import { keysShown } from '../../app/keys.ts'
import { IconButton } from '../../ui/button.tsx'
import { t } from './words.ts'

const over = signal<'palette' | 'keys' | null>(null)
const loaded = signal<typeof import('./over.tsx') | null>(null)

async function show(what: 'palette' | 'keys'): Promise<void> {
  over.value = over.value === what ? null : what
  loaded.value ??= await import('./over.tsx')
}

function Over() {
  if (over.value === null || loaded.value === null) return null
  const { Keys, Palette } = loaded.value
  const close = () => (over.value = null)
  return over.value === 'keys' ? <Keys close={close} /> : <Palette close={close} />
}

function Foot() {
  return <IconButton icon="keyboard" label={`${t('keys')} (${keysShown('?')})`} onClick={() => void show('keys')} />
}

export const feature: Feature = {
  name: 'palette',
  order: 90,
  slots: { overlay: Over, sidebarFoot: Foot },
  commands: [
    { id: 'palette', title: () => t('palette'), keys: 'mod+k', run: () => void show('palette') },
    { id: 'keys', title: () => t('keys'), keys: '?', run: () => void show('keys') },
  ],
}
