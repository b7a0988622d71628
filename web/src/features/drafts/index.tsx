import { choose, follow, others } from '../../app/devices.ts'
import { attached } from '../../app/drafts.ts'
import type { Feature } from '../../app/feature.ts'
import { route } from '../../app/route.ts'
import { draftOf, heavy } from '../../core/drafts.ts'
import { Button } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'
import './drafts.css'
import { t } from './words.ts'

const SHOWN = 200 // characters

/** Of the draft: that it stays here, or that another device has another one. */
function Notes({ thread: id }: { thread: string }) {
  const other = others.value.get(id)
  const text = draftOf(other?.content ?? '').text
  return (
    <>
      {!route.value.fresh && heavy(attached(id).value) && <p class="hint">{t('heavy')}</p>}
      <div role="status">
        {other && (
          <div class="draft-other">
            <p>
              <Icon name="edit" /> {text ? t('other', { text: text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text }) : t('pictures')}
            </p>
            <Button onClick={() => void choose(id, true)}>{t('add')}</Button>
            <Button onClick={() => void choose(id, false)}>{t('drop')}</Button>
          </div>
        )}
      </div>
    </>
  )
}

export const feature: Feature = { name: 'drafts', order: 40, slots: { attached: Notes }, start: follow }
