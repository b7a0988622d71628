/** A field of a form, from a property of a JSON schema, and what is written in it as a value. */

import type { Json } from './wire.ts'

export interface Field {
  name: string
  label: string
  kind: 'text' | 'number' | 'boolean' | 'choice' | 'json'
  /** Of a choice: what it can be. */
  choices: Json[]
  hint: string
  /** What it is when nobody says something else; undefined if there is nothing. */
  value: Json
  needed: boolean
  whole: boolean
}

/** What a person has in an input: text, or whether a box is ticked. */
export type Written = string | boolean

const KINDS: Record<string, Field['kind']> = { string: 'text', number: 'number', integer: 'number', boolean: 'boolean' }

export function fieldsOf(schema: Json): Field[] {
  const { properties, required, $defs } = schema ?? {}
  if (properties === null || typeof properties !== 'object') return []
  return Object.entries<Json>(properties).map(([name, property]) => ({
    ...fieldOf(name, property, $defs),
    needed: Boolean(required?.includes(name)),
  }))
}

export function fieldOf(name: string, property: Json, definitions: Json = {}): Field {
  const meant = resolved(property, definitions)
  const choices: Json[] = meant.enum ?? ('const' in meant ? [meant.const] : [])
  const kind = choices.length ? 'choice' : (KINDS[meant.type] ?? 'json')
  return {
    name,
    label: String(meant.title ?? name),
    kind,
    choices,
    hint: String(meant.description ?? ''),
    value: meant.default,
    needed: false,
    whole: meant.type === 'integer',
  }
}

/** Through references, and without the null that something optional may be; its own words go before those of its type. */
function resolved(property: Json, definitions: Json): Json {
  const { $ref, allOf, anyOf, oneOf, ...own } = property ?? {}
  if (typeof $ref === 'string') {
    const { title: _, ...meant } = resolved(definitions?.[$ref.split('/').at(-1)!], {}) // a class name says nothing
    return { ...meant, ...own }
  }
  const ways: Json[] = (anyOf ?? oneOf ?? allOf ?? []).filter((one: Json) => one.type !== 'null')
  if (ways.length === 1) return { ...resolved(ways[0], definitions), ...own }
  if (Array.isArray(own.type)) return { ...own, type: own.type.find((one: string) => one !== 'null') }
  return own
}

/** How a value stands in its input. */
export function written(field: Field, value: Json): Written {
  if (field.kind === 'boolean') return Boolean(value)
  if (value === undefined || value === null) return ''
  return field.kind === 'json' ? JSON.stringify(value, null, 2) : String(value)
}

/** The value; undefined where nothing is written. Raises an Error that says what is wrong with it. */
export function read(field: Field, text: Written): Json {
  if (typeof text === 'boolean') return text
  if (field.kind === 'choice') return field.choices.find((one) => String(one) === text)
  if (field.kind === 'text') return text === '' && !field.value ? undefined : text
  if (text.trim() === '') return undefined
  if (field.kind === 'json') return JSON.parse(text)
  const number = Number(text)
  if (!Number.isFinite(number) || (field.whole && !Number.isInteger(number))) throw new Error(text)
  return number
}
