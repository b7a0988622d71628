import { useSignal } from '@preact/signals'
import { useId } from 'preact/hooks'
import { assistantOf, assistants, choose, contextOf, set, type Assistant } from '../../app/assistants.ts'
import { rows } from '../../app/rows.ts'
import { read, written, type Field, type Written } from '../../core/field.ts'
import type { Json } from '../../core/wire.ts'
import { Button } from '../../ui/button.tsx'
import { Input } from '../../ui/field.tsx'
import { toast } from '../../ui/toast.tsx'
import { fields } from './fields.ts'
import { t } from './words.ts'

const failed = (error: Error): void => toast(error.message)
const same = (a: Json, b: Json): boolean => JSON.stringify(a) === JSON.stringify(b)

/** Who answers in this conversation, and how. */
export function Settings({ thread: id }: { thread: string }) {
  const chosen = assistantOf(id)
  const one = assistants.value.find((other) => other.assistant_id === chosen)
  const all = fields(chosen)
  return (
    <div class="settings">
      <Picker thread={id} chosen={chosen} />
      {one?.description && <p class="hint">{one.description}</p>}
      {one && all.length > 0 && <Form key={`${id} ${chosen}`} thread={id} assistant={one} fields={all} />}
    </div>
  )
}

/** A conversation that has begun stays with its graph: another one would not know its state. */
function Picker({ thread: id, chosen }: { thread: string; chosen: string | null }) {
  const graph = rows.value.get(id)?.metadata.graph_id
  const possible = assistants.value.filter((one) => !graph || one.graph_id === graph)
  const name = useId()
  const there = possible.some((one) => one.assistant_id === chosen)
  return (
    <div class="field">
      <label for={name}>{t('assistant')}</label>
      <select id={name} value={chosen ?? ''} onChange={(event) => void choose(id, event.currentTarget.value).catch(failed)}>
        {!there && <option value={chosen ?? ''}>{t('unknown')}</option>}
        {possible.map((one) => (
          <option key={one.assistant_id} value={one.assistant_id}>
            {nameOf(one)}
          </option>
        ))}
      </select>
    </div>
  )
}

export const nameOf = ({ name, graph_id }: Assistant): string => (name === graph_id ? name : `${name} (${graph_id})`)

function Form({ thread: id, assistant, fields: all }: { thread: string; assistant: Assistant; fields: Field[] }) {
  const context = contextOf(id)
  const begun = useSignal<Record<string, Written>>({}) // what is being written, until it is a value
  const wrong = useSignal<Record<string, string>>({})
  const usual = (field: Field): Json => assistant.context?.[field.name] ?? field.value ?? (field.kind === 'boolean' ? false : undefined)
  const done = (field: Field) => () => {
    const { [field.name]: text, ...others } = begun.value
    if (text === undefined) return
    const { [field.name]: _, ...rest } = contextOf(id)
    const { [field.name]: __, ...right } = wrong.value
    try {
      const value = read(field, text)
      wrong.value = right
      begun.value = others
      const next = value === undefined || same(value, usual(field)) ? rest : { ...rest, [field.name]: value }
      void set(id, next).catch(failed)
    } catch {
      wrong.value = { ...right, [field.name]: t(field.kind === 'json' ? 'noJson' : field.whole ? 'noWhole' : 'noNumber') }
    }
  }
  const reset = () => {
    begun.value = {}
    wrong.value = {}
    void set(id, {}).catch(failed)
  }
  return (
    <form class="settings-form" onSubmit={(event) => event.preventDefault()}>
      {all.map((field) => (
        <Input
          key={field.name}
          field={field}
          label={field.label}
          value={begun.value[field.name] ?? written(field, context[field.name] ?? usual(field))}
          set={(text) => (begun.value = { ...begun.value, [field.name]: text })}
          done={done(field)}
          wrong={wrong.value[field.name]}
        />
      ))}
      <div class="settings-foot">
        <span class="hint">{t('kept')}</span>
        {(Object.keys(context).length > 0 || Object.keys(wrong.value).length > 0) && <Button onClick={reset}>{t('defaults')}</Button>}
      </div>
    </form>
  )
}
