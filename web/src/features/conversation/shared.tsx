/** A conversation that somebody has shared, for whoever has the link. */

import { useSignal } from '@preact/signals'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import { api, ApiError } from '../../app/api.ts'
import { language, words } from '../../app/lang.ts'
import { common } from '../../app/words.ts'
import { turns } from '../../core/turns.ts'
import { EMPTY } from '../../core/view.ts'
import type { Message } from '../../core/wire.ts'
import { Button } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'
import { Turns, useTurns } from './list.tsx'
import './shared.css'

export const table = {
  en: {
    name: 'Shared conversation',
    note: 'Shared on {when}, read only.',
    gone: 'This link is not valid, or no longer.',
    why: 'It may have been revoked, or its time may be over. Ask whoever sent it to you for another one.',
    failed: 'The conversation could not be loaded.',
    loading: 'Loading…',
  },
  'zh-CN': {
    name: '共享的对话',
    note: '共享于 {when}，仅供阅读。',
    gone: '此链接无效或已失效。',
    why: '它可能已被撤销或已过期。请向发送者索取新的链接。',
    failed: '无法加载对话。',
    loading: '加载中…',
  },
}
const t = words(table)

interface Found {
  title: string | null
  shared_at: string
  messages: Message[]
}

type State = Found | 'loading' | 'gone' | 'failed'

export function Shared({ token }: { token: string }) {
  const now = useSignal<State>('loading')
  const load = async () => {
    now.value = 'loading'
    try {
      now.value = await api<Found>(`shared/${token}`)
    } catch (error) {
      now.value = error instanceof ApiError && error.status === 404 ? 'gone' : 'failed'
    }
  }
  useEffect(() => void load(), [token])
  const found = typeof now.value === 'object' ? now.value : null
  const title = found?.title || t('name')
  useEffect(() => {
    document.documentElement.lang = language.value
    document.title = title
  })
  return (
    <div class="page">
      <main class="talk shared">
        <header class="head">
          <h1>{title}</h1>
        </header>
        {found ? (
          <>
            <p class="note shared-note">
              <Icon name="link" /> {t('note', { when: day(found.shared_at) })}
            </p>
            <Log held={found.messages} />
          </>
        ) : now.value === 'loading' ? (
          <p class="empty" role="status">
            {t('loading')}
          </p>
        ) : (
          <div class="empty" role="alert">
            <p class="hello">{t(now.value === 'gone' ? 'gone' : 'failed')}</p>
            {now.value === 'gone' ? <p>{t('why')}</p> : <Button onClick={() => void load()}>{common('retry')}</Button>}
          </div>
        )}
      </main>
    </div>
  )
}

function Log({ held }: { held: Message[] }) {
  const box = useRef<HTMLDivElement>(null)
  const list = useMemo(() => turns({ ...EMPTY, values: { messages: held } }, []), [held])
  const view = useTurns(box, list)
  return (
    <div class="log" ref={box} role="region" aria-label={t('name')} tabindex={0} data-turns={list.length}>
      <Turns thread={null} list={list} view={view} busy={false} />
    </div>
  )
}

const day = (at: string): string =>
  new Intl.DateTimeFormat(language.value, { dateStyle: 'long', timeStyle: 'short' }).format(new Date(at))
