import assert from 'node:assert/strict'
import { test } from 'node:test'
import { questionOf, type Choice } from './question.ts'
import type { Json } from '../../core/wire.ts'

const choice = (value: Json, id: string): Choice => questionOf(value).choices.find((one) => one.id === id)!
const ids = (value: Json): string[] => questionOf(value).choices.map((one) => one.id)

test('a schema with a decision becomes a choice each, with the fields that belong to it', () => {
  const properties = {
    type: { enum: ['approve', 'reject', 'edit'] },
    amount: { type: 'number', description: 'For edit: the amount.' },
    reason: { type: 'string', description: 'For reject: why.' },
  }
  const value = { question: 'Refund?', amount: 5, response_schema: { type: 'object', properties } }
  assert.deepEqual(ids(value), ['approve', 'reject', 'edit'])
  assert.deepEqual(choice(value, 'approve').fields, [])
  assert.deepEqual(choice(value, 'edit').fields.map((one) => [one.name, one.kind, one.value]), [['amount', 'number', 5]])
  assert.deepEqual(choice(value, 'edit').answer({ amount: 4 }), { type: 'edit', amount: 4 })
  assert.deepEqual(choice(value, 'reject').answer({ reason: '' }), { type: 'reject' })
})

test('a question that is asked in both forms is answered in that of its schema', () => {
  const schema = { properties: { type: { enum: ['approve', 'edit'] }, amount: { type: 'number' } } }
  const requests = { action_requests: [{ name: 'refund', args: { amount: 5 } }], review_configs: [{ allowed_decisions: ['approve'] }] }
  const value = { question: 'Refund?', amount: 5, response_schema: schema, ...requests }
  assert.equal(questionOf(value).title, 'Refund?')
  assert.deepEqual(questionOf(value).details, { amount: 5 })
  assert.deepEqual(choice(value, 'edit').answer({ amount: 4 }), { type: 'edit', amount: 4 })
})

test('a text, a list of options and a schema without a decision can be answered', () => {
  assert.equal(questionOf('Why?').title, 'Why?')
  assert.equal(choice('Why?', 'respond').answer({ answer: 'So.' }), 'So.')
  assert.equal(choice({ options: ['red', 'blue'] }, 'blue').answer({}), 'blue')
  const schema = { properties: { age: { type: 'integer' }, sure: { type: 'boolean' } } }
  assert.deepEqual(choice({ response_schema: schema }, 'respond').answer({ age: 3, sure: false }), { age: 3, sure: false })
})

test('the middleware of LangChain gets decisions, one for each action', () => {
  const request = { name: 'send', args: { to: 'ann' } }
  const value = (...names: string[]) => ({
    action_requests: names.map((name) => ({ ...request, name })),
    review_configs: [{ action_name: 'send', allowed_decisions: ['approve', 'edit', 'reject'] }],
  })
  assert.deepEqual(choice(value('send'), 'approve').answer({}), { decisions: [{ type: 'approve' }] })
  const edited = { type: 'edit', edited_action: { name: 'send', args: { to: 'bob' } } }
  assert.deepEqual(choice(value('send'), 'edit').answer({ args: { to: 'bob' } }), { decisions: [edited] })
  assert.deepEqual(ids(value('send', 'post')), ['approve', 'reject'])
  assert.equal(choice(value('send', 'post'), 'reject').answer({ message: 'no' }).decisions.length, 2)
})

test('the form of the agent inbox gets its own answers', () => {
  const config = { allow_accept: true, allow_edit: true, allow_respond: true, allow_ignore: true }
  const value = [{ action_request: { action: 'send', args: { to: 'ann' } }, config, description: 'Send?' }]
  assert.deepEqual(ids(value), ['approve', 'edit', 'respond', 'reject'])
  assert.deepEqual(choice(value, 'respond').answer({ response: 'wait' }), [{ type: 'response', args: 'wait' }])
  assert.deepEqual(choice(value, 'reject').answer({}), [{ type: 'ignore', args: null }])
})
