import type { Assistant } from '../../app/assistants.ts'
import { draft, write } from '../../app/drafts.ts'
import { Button } from '../../ui/button.tsx'
import { t } from './words.ts'

const MOST = 4

/** What one may ask, as the assistant's metadata has it; nothing is sent before one has looked at it. */
export function Starters({ thread: id, assistant }: { thread: string; assistant: Assistant }) {
  const { starters } = assistant.metadata ?? {}
  const texts = Array.isArray(starters) ? starters.filter((one) => typeof one === 'string' && one).slice(0, MOST) : []
  if (!texts.length || draft(id).value) return null
  const take = (text: string) => {
    write(id, text)
    document.querySelector<HTMLElement>('#composer')?.focus()
  }
  return (
    <div class="starters" role="group" aria-label={t('starters')}>
      {texts.map((one: string, place) => (
        <Button key={place} onClick={() => take(one)}>
          {one}
        </Button>
      ))}
    </div>
  )
}
