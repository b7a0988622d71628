import { useSignal } from '@preact/signals'
import { useEffect, useId, useRef } from 'preact/hooks'
import { api, BASE } from '../../app/api.ts'
import { language } from '../../app/lang.ts'
import { route } from '../../app/route.ts'
import { Button } from '../../ui/button.tsx'
import { CopyButton, copyText } from '../../ui/copy.tsx'
import { Sheet } from '../../ui/dialog.tsx'
import './share.css'
import { t } from './words.ts'

interface Link {
  share_id: string
  redact: string[]
  created_at: string
  expires_at: string | null
}

const DAY = 24 * 60
const ENDS = [
  ['never', null],
  ['day', DAY],
  ['week', 7 * DAY],
  ['month', 30 * DAY],
] as const

/** Make a link to the conversation as it is seen, and revoke those that there are. */
export function Links({ thread, close }: { thread: string; close: () => void }) {
  const place = `threads/${thread}/shares`
  const links = useSignal<Link[] | null>(null)
  const made = useSignal<{ link: string; copied: boolean } | null>(null)
  const error = useSignal<string | null>(null)
  const attempt = async (what: () => Promise<void>) => {
    error.value = null
    await what().catch((one: Error) => (error.value = one.message))
  }
  const load = async () => {
    links.value = await api<Link[]>(place)
  }
  useEffect(() => void attempt(load), [thread])
  const make = (minutes: number | null, redact: boolean) =>
    attempt(async () => {
      const { at } = route.value
      const body = { ...(at && { checkpoint_id: at }), ...(minutes && { ttl: minutes }), ...(redact && { redact: ['tool-results'] }) }
      const { token } = await api<{ token: string }>(place, { body })
      const link = new URL(`s/${token}`, BASE).href
      const copied = await copyText(link).then(() => true, () => false) // a browser may refuse
      made.value = { link, copied }
      await load()
    })
  const revoke = (one: Link) =>
    attempt(async () => {
      await api(`${place}/${one.share_id}`, { method: 'DELETE' })
      if (links.value?.[0] === one) made.value = null // it may be that one
      await load()
    })
  return (
    <Sheet name={t('share')} kind="share" close={close}>
      <p>{t(route.value.at ? 'then' : 'now')}</p>
      <Make make={make} />
      {made.value && <Made {...made.value} />}
      {error.value && (
        <p class="wrong" role="alert">
          {error.value}
        </p>
      )}
      <h3>{t('links')}</h3>
      {links.value?.length === 0 && <p class="hint">{t('none')}</p>}
      <ul>
        {links.value?.map((one) => (
          <li key={one.share_id}>
            <span>{[t('made', { when: when(one.created_at) }), ...more(one)].join(', ')}</span>
            <Button kind="danger" onClick={() => void revoke(one)}>
              {t('revoke')}
            </Button>
          </li>
        ))}
      </ul>
    </Sheet>
  )
}

function Make({ make }: { make: (minutes: number | null, redact: boolean) => Promise<void> }) {
  const ends = useSignal<number>(0)
  const redact = useSignal(false)
  const busy = useSignal(false)
  const id = useId()
  const act = async () => {
    busy.value = true
    await make(ENDS[ends.value]![1], redact.value)
    busy.value = false
  }
  return (
    <div class="share-make">
      <label for={id}>{t('ends')}</label>
      <select id={id} value={ends.value} onChange={(event) => (ends.value = event.currentTarget.selectedIndex)}>
        {ENDS.map(([name], place) => (
          <option key={name} value={place}>
            {t(name)}
          </option>
        ))}
      </select>
      <label>
        <input type="checkbox" checked={redact.value} onChange={(event) => (redact.value = event.currentTarget.checked)} /> {t('results')}
      </label>
      <Button kind="main" icon="link" disabled={busy.value} onClick={() => void act()}>
        {t('make')}
      </Button>
    </div>
  )
}

function Made({ link, copied }: { link: string; copied: boolean }) {
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => field.current?.select(), [link])
  return (
    <div class="share-made">
      <input ref={field} readOnly aria-label={t('link')} value={link} />
      <CopyButton text={() => link} />
      <p class="hint" role="status">
        {copied && t('copied')} {t('once')}
      </p>
    </div>
  )
}

function more({ redact, expires_at }: Link): string[] {
  return [...(redact.length ? [t('without')] : []), ...(expires_at ? [t('until', { when: when(expires_at) })] : [])]
}

const when = (at: string): string =>
  new Intl.DateTimeFormat(language.value, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(at))
