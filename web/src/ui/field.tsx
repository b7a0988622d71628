import { useId } from 'preact/hooks'
import type { Field, Written } from '../core/field.ts'

interface Props {
  field: Field
  label: string
  value: Written
  /** With every key. */
  set: (value: Written) => void
  /** When one is done with it. */
  done?: () => void
  wrong?: string | undefined
}

export function Input({ field, label, value, set, done, wrong }: Props) {
  const id = useId()
  const about = [...(field.hint ? [`${id}-hint`] : []), ...(wrong ? [`${id}-wrong`] : [])].join(' ')
  const common = { id, value: String(value), required: field.needed, 'aria-describedby': about || undefined, 'aria-invalid': Boolean(wrong), onChange: done }
  const write = (event: { currentTarget: { value: string } }) => set(event.currentTarget.value)
  return (
    <div class={`field ${field.kind}`}>
      <label for={id}>{label}</label>
      {field.kind === 'choice' ? (
        <select {...common} onInput={write}>
          {(value === '' || field.value === undefined) && <option value="">–</option>}
          {field.choices.map((one) => (
            <option key={String(one)}>{String(one)}</option>
          ))}
        </select>
      ) : field.kind === 'boolean' ? (
        <input id={id} type="checkbox" aria-describedby={about || undefined} checked={Boolean(value)} onInput={(event) => set(event.currentTarget.checked)} onChange={done} />
      ) : field.kind === 'number' ? (
        <input {...common} type="number" step={field.whole ? 1 : 'any'} onInput={write} />
      ) : (
        <textarea {...common} rows={field.kind === 'json' ? 3 : 1} onInput={write} />
      )}
      {field.hint && (
        <span class="hint" id={`${id}-hint`}>
          {field.hint}
        </span>
      )}
      {wrong && (
        <span class="wrong" role="alert" id={`${id}-wrong`}>
          {wrong}
        </span>
      )}
    </div>
  )
}
