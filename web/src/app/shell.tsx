import { effect } from '@preact/signals'
import { IconButton } from '../ui/button.tsx'
import { Toasts, toast } from '../ui/toast.tsx'
import { drawer } from './drawer.ts'
import { commands, FEATURES, Slot } from './feature.ts'
import { pressed } from './keys.ts'
import { language, words } from './lang.ts'
import { current, route } from './route.ts'
import { row, rows } from './rows.ts'
import { idOfTab, tabbed } from './tabs.ts'
import { thread, title } from './threads.ts'
import { common } from './words.ts'

export const table = {
  en: { menu: 'Show conversations', side: 'Conversations', hide: 'Hide conversations', unknown: 'Conversation' },
  'zh-CN': { menu: '显示对话列表', side: '对话列表', hide: '隐藏对话列表', unknown: '对话' },
}
const t = words(table)

export function Shell() {
  const id = current.value
  const known = route.value.fresh || row.value !== null || ['live', 'new'].includes(thread(id).value.known)
  return (
    <div class="page">
      <div class="banners">
        <Slot name="banner" />
      </div>
      <div class={`columns ${drawer.value ? 'drawer-open' : ''}`}>
        <aside class="side" aria-label={t('side')}>
          <Slot name="sidebar" />
          <div class="side-foot">
            <Slot name="sidebarFoot" />
          </div>
        </aside>
        {drawer.value && <button type="button" class="shade" aria-label={t('hide')} onClick={() => (drawer.value = false)} />}
        <main class="talk">
          <Slot name="above" />
          <header class="head">
            <IconButton
              class="drawer-button"
              icon="menu"
              label={t('menu')}
              aria-expanded={drawer.value}
              onClick={() => (drawer.value = !drawer.value)}
            />
            <h1 dir="auto">{title.value || (known ? common('untitled') : t('unknown'))}</h1>
            <div class="head-actions">
              <Slot name="header" thread={id} />
            </div>
          </header>
          <div class="body" id="conversation" {...(tabbed.value && { role: 'tabpanel', 'aria-labelledby': idOfTab(id) })}>
            <div class="stream">
              <Slot key={id} name="main" thread={id} />
              <div class="dock">
                <Slot key={id} name="dock" thread={id} />
              </div>
            </div>
            <Slot name="panel" thread={id} />
          </div>
        </main>
      </div>
      <Slot name="overlay" />
      <Toasts />
    </div>
  )
}

export function begin(): void {
  effect(() => {
    document.documentElement.lang = language.value
  })
  effect(() => {
    const unread = [...rows.value.values()].filter((one) => one.unread && one.thread_id !== current.value).length
    document.title = `${unread ? `(${unread}) ` : ''}${title.value ?? 'Threadmill'}`
  })
  addEventListener('keydown', (event) => {
    const command = commands().find((one) => one.keys && pressed(event, one.keys) && (one.when?.() ?? true))
    if (!command) return
    event.preventDefault()
    command.run()
  })
  addEventListener('vite:preloadError', () =>
    toast(common('outdated'), { action: { label: common('reload'), run: () => location.reload() } }),
  )
  for (const feature of FEATURES) feature.start?.()
}
