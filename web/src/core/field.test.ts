import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fieldsOf, read, written, type Field } from './field.ts'
import type { Json } from './wire.ts'

const only = (property: Json, more: Json = {}): Field => fieldsOf({ properties: { it: property }, ...more })[0]!

test('each type of a schema has its input', () => {
  const properties = {
    tone: { enum: ['short', 'long'], default: 'short', title: 'Tone' },
    words: { type: 'integer', default: 3 },
    heat: { type: 'number' },
    shout: { type: 'boolean' },
    name: { type: 'string', description: 'How it is called.' },
    tags: { type: 'array', items: { type: 'string' } },
  }
  const fields = fieldsOf({ properties, required: ['name'] })
  assert.deepEqual(fields.map((one) => one.kind), ['choice', 'number', 'number', 'boolean', 'text', 'json'])
  assert.deepEqual(fields.map((one) => one.label), ['Tone', 'words', 'heat', 'shout', 'name', 'tags'])
  assert.deepEqual(fields.map((one) => one.value), ['short', 3, undefined, undefined, undefined, undefined])
  assert.deepEqual(fields.filter((one) => one.needed).map((one) => one.name), ['name'])
  assert.equal(fields[4]!.hint, 'How it is called.')
})

test('what is optional or defined elsewhere is what it is there', () => {
  assert.equal(only({ anyOf: [{ type: 'integer' }, { type: 'null' }], default: null }).kind, 'number')
  assert.equal(only({ type: ['string', 'null'] }).kind, 'text')
  const $defs = { Tone: { title: 'Tone', enum: ['a', 'b'], type: 'string' } }
  assert.deepEqual(only({ $ref: '#/$defs/Tone', default: 'b' }, { $defs }).choices, ['a', 'b'])
  assert.equal(only({ allOf: [{ $ref: '#/$defs/Tone' }] }, { $defs }).label, 'it')
  assert.equal(only({ anyOf: [{ type: 'integer' }, { type: 'string' }] }).kind, 'json')
  assert.deepEqual(only({ const: 'only' }).choices, ['only'])
})

test('a schema without properties is no form', () => {
  for (const schema of [null, undefined, {}, { type: 'object' }, { properties: {} }]) assert.deepEqual(fieldsOf(schema), [])
})

test('what is written becomes a value of the type, or is wrong', () => {
  assert.equal(read(only({ enum: [1, 2] }), '2'), 2)
  assert.equal(read(only({ type: 'number' }), '0.5'), 0.5)
  assert.equal(read(only({ type: 'number' }), ' '), undefined)
  assert.throws(() => read(only({ type: 'integer' }), '0.5'))
  assert.throws(() => read(only({ type: 'number' }), 'much'))
  assert.equal(read(only({ type: 'string' }), ''), undefined)
  assert.equal(read(only({ type: 'string', default: 'Ann' }), ''), '') // it is not said by nobody, but by no name
  assert.deepEqual(read(only({ type: 'object' }), '{"a": [1]}'), { a: [1] })
  assert.throws(() => read(only({ type: 'object' }), '{a'))
  assert.equal(read(only({ type: 'boolean' }), false), false)
})

test('a value stands in its input as one would write it', () => {
  for (const [property, value] of [[{ type: 'number' }, 0.5], [{ type: 'object' }, { a: [1] }], [{ enum: [1, 2] }, 2], [{ type: 'boolean' }, true]]) {
    const field = only(property)
    assert.deepEqual(read(field, written(field, value)), value)
  }
  assert.equal(written(only({ type: 'number' }), null), '')
})
