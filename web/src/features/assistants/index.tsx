import { useEffect } from 'preact/hooks'
import { assistantOf, assistants, readAssistants } from '../../app/assistants.ts'
import type { Feature } from '../../app/feature.ts'
import { panel, toggle } from '../../app/panel.ts'
import { current, route } from '../../app/route.ts'
import { common } from '../../app/words.ts'
import { Button, IconButton } from '../../ui/button.tsx'
import './assistants.css'
import { fields } from './fields.ts'
import { nameOf, Settings } from './settings.tsx'
import { Starters } from './starters.tsx'
import { t } from './words.ts'

const NAME = 'assistants'

/** There is nothing to choose from one assistant without settings. */
const possible = (id: string): boolean => assistants.value.length > 1 || fields(assistantOf(id)).length > 0

/** Of a new conversation. */
function Start({ thread: id }: { thread: string }) {
  useEffect(() => {
    if (assistants.value.length) void readAssistants().catch(() => {}) // there may be new ones
  }, [])
  const one = assistants.value.find((other) => other.assistant_id === assistantOf(id))
  if (!route.value.fresh || !one) return null
  return (
    <>
      {possible(id) ? <Settings thread={id} /> : one.description && <p class="about">{one.description}</p>}
      <Starters thread={id} assistant={one} />
    </>
  )
}

function Which({ thread: id }: { thread: string }) {
  if (route.value.fresh || !possible(id)) return null
  const one = assistants.value.find((other) => other.assistant_id === assistantOf(id))
  const name = one ? nameOf(one) : t('unknown')
  return (
    <Button class="which" icon="settings" aria-label={t('of', { name })} aria-expanded={panel.value === NAME} onClick={() => toggle(NAME)}>
      <span>{name}</span>
    </Button>
  )
}

function Panel({ thread: id }: { thread: string }) {
  if (panel.value !== NAME || route.value.fresh) return null
  return (
    <aside class="side-panel" aria-label={t('settings')} onKeyDown={(event) => event.key === 'Escape' && toggle(NAME)}>
      <div class="side-panel-head">
        <h2>{t('settings')}</h2>
        <IconButton icon="close" label={common('close')} onClick={() => toggle(NAME)} />
      </div>
      <Settings thread={id} />
    </aside>
  )
}

export const feature: Feature = {
  name: NAME,
  order: 20,
  slots: { empty: Start, header: Which, panel: Panel },
  commands: [
    {
      id: NAME,
      title: () => t('settings'),
      run: () => toggle(NAME),
      when: () => !route.value.fresh && possible(current.value),
    },
  ],
}
