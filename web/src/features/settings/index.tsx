import { effect, signal } from '@preact/signals'
import { logIn, token } from '../../app/api.ts'
import type { Feature } from '../../app/feature.ts'
import { language, speak, type Language } from '../../app/lang.ts'
import { browser } from '../../core/keeper.ts'
import { Button } from '../../ui/button.tsx'
import { t } from './words.ts'

const THEMES = ['system', 'light', 'dark'] as const
type Theme = (typeof THEMES)[number]
const KEY = 'threadmill.theme'
const kept = browser.get(KEY)
const theme = signal<Theme>(THEMES.find((one) => one === kept) ?? 'system')

effect(() => {
  document.documentElement.dataset.theme = theme.value
})

function choose(wanted: Theme): void {
  theme.value = wanted
  browser.set(KEY, wanted)
}

function Settings() {
  return (
    <>
      <select aria-label={t('language')} value={language.value} onChange={(event) => speak(event.currentTarget.value as Language)}>
        <option value="en">English</option>
        <option value="zh-CN">简体中文</option>
      </select>
      <select aria-label={t('theme')} value={theme.value} onChange={(event) => choose(event.currentTarget.value as Theme)}>
        {THEMES.map((one) => (
          <option key={one} value={one}>
            {t(one)}
          </option>
        ))}
      </select>
      {token.value && (
        <Button
          onClick={() => {
            logIn(null)
            location.reload()
          }}
        >
          {t('out')}
        </Button>
      )}
    </>
  )
}

export const feature: Feature = { name: 'settings', order: 90, slots: { sidebarFoot: Settings } }
