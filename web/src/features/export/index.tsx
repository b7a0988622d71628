import { file } from '../../app/api.ts'
import type { Feature } from '../../app/feature.ts'
import { current, route } from '../../app/route.ts'
import { row } from '../../app/rows.ts'
import { Menu } from '../../ui/menu.tsx'
import { save } from '../../ui/save.ts'
import { toast } from '../../ui/toast.tsx'
import { t } from './words.ts'

const ENDINGS = { markdown: 'md', json: 'json', bundle: 'ndjson' } as const
type Format = keyof typeof ENDINGS
const FORMATS = Object.keys(ENDINGS) as Format[]

/** By a request of the page, as a link would have no token. */
async function download(format: Format): Promise<void> {
  const id = current.peek()
  try {
    const name = (row.peek()?.title || id).replace(/[\\/:*?"<>|\s\p{Cc}]+/gu, ' ').trim().slice(0, 80)
    save(await file(`threads/${id}/export?format=${format}`), `${name || id}.${ENDINGS[format]}`)
  } catch (error) {
    toast((error as Error).message)
  }
}

function Export() {
  if (route.value.fresh) return null
  return <Menu icon="download" label={t('export')} acts={() => FORMATS.map((one) => ({ label: t(one), run: () => void download(one) }))} />
}

export const feature: Feature = {
  name: 'export',
  order: 70,
  slots: { header: Export },
  commands: FORMATS.map((one) => ({
    id: `export-${one}`,
    title: () => t(one),
    run: () => void download(one),
    when: () => !route.value.fresh,
  })),
}
