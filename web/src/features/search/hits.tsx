import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { api, ApiError, BASE } from '../../app/api.ts'
import { sought } from '../../app/at.ts'
import { drawer } from '../../app/drawer.ts'
import { open } from '../../app/route.ts'
import { common } from '../../app/words.ts'
import { pieces } from '../../core/search.ts'
import { Button } from '../../ui/button.tsx'
import { t } from './words.ts'

interface Hit {
  thread_id: string
  title: string | null
  checkpoint_id: string | null
  message_id: string | null
  role: string | null
  kind: string
  snippet: string
}

interface Answer {
  hits: Hit[]
  next_cursor: string | null
}

const PAUSE = 200 // ms without a key
const KINDS = ['message', 'tool_args', 'tool_result', 'status']

/** What was said in all conversations; a hit opens its conversation where it was said. */
export function Hits({ query }: { query: string }) {
  const found = useSignal<Answer | null>(null)
  const trouble = useSignal('')
  const ask = async (cursor: string | null, stop?: AbortSignal) => {
    const body = { query, kinds: KINDS, limit: 20, ...(cursor === null ? {} : { cursor }) }
    try {
      const answer = await api<Answer>('search', { body, ...(stop ? { signal: stop } : {}) })
      const before = cursor === null ? [] : (found.peek()?.hits ?? [])
      found.value = { ...answer, hits: [...before, ...answer.hits] }
      trouble.value = ''
    } catch (error) {
      if (stop?.aborted) return
      found.value = { hits: [], next_cursor: null }
      const hidden = error instanceof ApiError && error.status === 501
      trouble.value = hidden ? t('titles') : t('failed', { reason: (error as Error).message })
    }
  }
  useEffect(() => {
    const stop = new AbortController()
    const timer = setTimeout(() => void ask(null, stop.signal), PAUSE)
    return () => {
      clearTimeout(timer)
      stop.abort()
    }
  }, [query])
  const answer = found.value
  return (
    <section class="hits" aria-label={t('hits')}>
      <h2>{t('hits')}</h2>
      <p class="hint" role="status">
        {trouble.value || (answer === null ? t('looking') : answer.hits.length ? '' : t('none'))}
      </p>
      <ul>
        {answer?.hits.map((one) => (
          <li key={`${one.thread_id} ${one.message_id} ${one.kind}`}>
            <Found hit={one} />
          </li>
        ))}
      </ul>
      {answer?.next_cursor && <Button onClick={() => void ask(answer.next_cursor)}>{t('more')}</Button>}
    </section>
  )
}

function Found({ hit }: { hit: Hit }) {
  const address = new URL(`t/${hit.thread_id}${hit.checkpoint_id ? `?at=${hit.checkpoint_id}` : ''}`, BASE)
  const go = (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return
    event.preventDefault()
    open(hit.thread_id)
    drawer.value = false
    if (hit.message_id) sought.value = { thread: hit.thread_id, message: hit.message_id, checkpoint: hit.checkpoint_id }
  }
  return (
    <a class="hit" href={address.href} onClick={go}>
      <strong>{hit.title || common('untitled')}</strong>
      <span>
        <span class="soft">{who(hit)} </span>
        {pieces(hit.snippet).map((one) => (one.found ? <mark>{one.text}</mark> : one.text))}
      </span>
    </a>
  )
}

function who({ kind, role }: Hit): string {
  if (kind === 'status') return t('status')
  if (kind !== 'message' || role === 'tool') return t('tool')
  return role === 'human' || role === 'ai' ? t(role) : (role ?? '')
}
