import { computed, effect, signal, useComputed } from '@preact/signals'
import type { ComponentType } from 'preact'
import { api } from '../../app/api.ts'
import { earlier, lost } from '../../app/at.ts'
import type { Feature } from '../../app/feature.ts'
import { language } from '../../app/lang.ts'
import { panel, toggle } from '../../app/panel.ts'
import { open, route } from '../../app/route.ts'
import { run } from '../../app/runs.ts'
import { refresh, thread } from '../../app/threads.ts'
import { Button, IconButton } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'
import { toast } from '../../ui/toast.tsx'
import { t } from './words.ts'
import './timeline.css'

const NAME = 'timeline'
const loaded = signal<{ Timeline: ComponentType<{ thread: string; close: () => void }> } | null>(null)
const wanted = computed(() => panel.value === NAME)

function Toggle() {
  if (route.value.fresh) return null
  return <IconButton icon="clock" label={wanted.value ? t('hide') : t('show')} aria-expanded={wanted.value} onClick={() => toggle(NAME)} />
}

function Panel({ thread: id }: { thread: string }) {
  if (!wanted.value || loaded.value === null || route.value.fresh) return null
  const { Timeline } = loaded.value
  return <Timeline key={id} thread={id} close={() => toggle(NAME)} />
}

function start(): void {
  effect(() => {
    if (wanted.value && loaded.peek() === null) void import('./timeline.tsx').then((one) => (loaded.value = one))
  })
}

/** Above the box to write in, while the address names a checkpoint. */
function Bar({ thread: id }: { thread: string }) {
  const ready = useComputed(() => thread(id).value.view.in_flight === null && !thread(id).value.queue.length).value
  const { at } = route.value
  const state = earlier.value
  if (at === null) return null
  const act = (what: () => Promise<unknown>) => () =>
    void what().then(
      () => open(id),
      (error: Error) => toast(error.message),
    )
  const go = act(async () => {
    await api(`threads/${id}/head`, { method: 'PUT', body: { checkpoint_id: at } })
    await refresh(id)
  })
  const rerun = act(() => run(id, { input: null, checkpoint_id: at }))
  const hint = ready ? {} : { disabled: true, title: t('busy') }
  return (
    <section class="earlier" role="status">
      <Icon name="clock" />
      <p>{state ? t('earlier', { when: when(state.createdAt) }) : lost.value ? t('missing') : t('loading')}</p>
      {state && (
        <Button {...hint} onClick={go}>
          {t('continue')}
        </Button>
      )}
      {state && state.next.length > 0 && (
        <Button icon="play" {...hint} onClick={rerun}>
          {t('rerun')}
        </Button>
      )}
      <Button onClick={() => open(id)}>{t('back')}</Button>
    </section>
  )
}

const when = (at: string | null): string =>
  at === null ? '' : new Intl.DateTimeFormat(language.value, { dateStyle: 'short', timeStyle: 'medium' }).format(new Date(at))

export const feature: Feature = {
  name: NAME,
  order: 60,
  slots: { header: Toggle, panel: Panel, dock: Bar },
  start,
  commands: [{ id: NAME, title: () => t(wanted.value ? 'hide' : 'show'), keys: 'mod+shift+e', run: () => toggle(NAME), when: () => !route.value.fresh }],
}
