import { useSignal, useSignalEffect } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { logIn, refused, token } from '../../app/api.ts'
import { cacheBroken, connection, link, wake } from '../../app/connection.ts'
import type { Feature } from '../../app/feature.ts'
import { listKnown } from '../../app/rows.ts'
import { Button } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'
import './connection.css'
import { t } from './words.ts'

function Banner() {
  if (refused.value) return <Login />
  return (
    <>
      <Cut />
      {cacheBroken.value && <p class="banner">{t('noCache')}</p>}
    </>
  )
}

/** Said when it has lasted a moment: a short cut is nobody's business. */
function Cut() {
  const { phase, retryAt, tries } = link.value
  const late = useSignal(false)
  const now = useSignal(Date.now())
  useSignalEffect(() => {
    if (link.value.phase === 'open') {
      late.value = false
      return
    }
    const timer = setTimeout(() => (late.value = true), 1200)
    return () => clearTimeout(timer)
  })
  useEffect(() => {
    const timer = setInterval(() => (now.value = Date.now()), 500)
    return () => clearInterval(timer)
  }, [])
  if (phase === 'open' || !(late.value || tries > 1)) return <div class="banner-space" role="status" />
  const left = retryAt === null ? null : Math.max(0, Math.ceil((retryAt - now.value) / 1000))
  const what = !navigator.onLine ? t('offline') : tries ? t('cut') : t('connecting')
  const next = left === null ? t('trying', { n: tries }) : t('waiting', { n: tries, seconds: left })
  return (
    <div class="banner cut" data-phase={phase}>
      <Icon name="waiting" />
      {/* The seconds change too often to be read out. */}
      <span role="status" aria-label={`${what} ${t('safe')}`}>
        <span aria-hidden="true">
          {what} {navigator.onLine && tries > 0 && next} {t('safe')} {listKnown.value === 'cached' && t('cached')}
        </span>
      </span>
      <Button onClick={wake}>{t('now')}</Button>
    </div>
  )
}

function Login() {
  const value = useSignal('')
  const enter = (event: Event) => {
    event.preventDefault()
    const given = value.value.trim()
    if (logIn(given)) location.reload()
    else connection.start(given || null) // a reload would forget it
  }
  return (
    <form class="banner login" onSubmit={enter}>
      <span role="status">{t(token.value ? 'wrong' : 'login')}</span>
      <input
        type="password"
        autocomplete="current-password"
        aria-label={t('token')}
        placeholder={t('token')}
        value={value.value}
        onInput={(event) => (value.value = event.currentTarget.value)}
      />
      <Button kind="main" type="submit">
        {t('enter')}
      </Button>
    </form>
  )
}

export const feature: Feature = { name: 'connection', slots: { banner: Banner } }
