import { signal } from '@preact/signals'
import type { ComponentType } from 'preact'
import { drawer } from '../../app/drawer.ts'
import type { Feature } from '../../app/feature.ts'
import { filter } from '../../app/list.ts'
import { matches } from '../../core/search.ts'
import { IconButton } from '../../ui/button.tsx'
import './search.css'
import { t } from './words.ts'

const query = signal('')
const loaded = signal<{ Hits: ComponentType<{ query: string }> } | null>(null)

/** Titles at once, here; what was said from the server, below. */
function look(text: string): void {
  query.value = text
  const wanted = text.trim()
  filter('search', wanted ? (row) => matches(row.title ?? '', wanted) : null)
  if (wanted && loaded.value === null) void import('./hits.tsx').then((module) => (loaded.value = module))
}

function Search() {
  const wanted = query.value.trim()
  const Hits = loaded.value?.Hits
  return (
    <>
      <search class="search">
        <input
          id="search"
          type="search"
          aria-label={t('field')}
          placeholder={t('search')}
          maxLength={500}
          value={query.value}
          onInput={(event) => look(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== 'Escape' || event.isComposing) return
            event.preventDefault()
            look('')
          }}
        />
        {query.value && <IconButton icon="close" label={t('clear')} onClick={() => look('')} />}
      </search>
      {wanted && Hits && <Hits query={wanted} />}
    </>
  )
}

function focus(): void {
  drawer.value = true
  requestAnimationFrame(() => document.querySelector<HTMLInputElement>('#search')?.select())
}

export const feature: Feature = {
  name: 'search',
  order: 10,
  slots: { sidebar: Search },
  commands: [{ id: 'search', title: () => t('field'), keys: 'mod+shift+f', run: focus }],
}
