import { Picture } from '../../ui/picture.tsx'
import { t } from './words.ts'

/** Those of a message, or of what a tool answered. */
export function Pictures({ sources }: { sources: string[] }) {
  if (!sources.length) return null
  return (
    <div class="said-pictures">
      {sources.map((one, place) => (
        <Picture key={place} source={one} label={t('image', { n: place + 1 })} />
      ))}
    </div>
  )
}
