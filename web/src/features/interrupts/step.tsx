import { useSignal } from '@preact/signals'
import { next } from '../../app/next.ts'
import { run } from '../../app/runs.ts'
import { Button } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'
import { toast } from '../../ui/toast.tsx'
import { t } from './words.ts'

/** In place of a question, where a step waits that asks nothing. */
export function Step({ thread: id }: { thread: string }) {
  const busy = useSignal(false)
  if (next.value === null) return null
  const named = next.value.filter((one) => !one.startsWith('__'))
  const go = async () => {
    busy.value = true
    await run(id, { input: null }).catch((error: Error) => toast(error.message))
    busy.value = false
  }
  return (
    <section class="question waits" role="group" aria-label={t('waits')}>
      <p>
        <Icon name="waiting" /> {named.length ? t('waitsAt', { nodes: named.join(', ') }) : t('waits')}
      </p>
      <Button kind="main" icon="play" disabled={busy.value} onClick={() => void go()}>
        {t('go')}
      </Button>
    </section>
  )
}
