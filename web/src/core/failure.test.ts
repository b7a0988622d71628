import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open, skipping } from './failure.ts'
import type { Message } from './wire.ts'

const ASKED: Message = { id: 'a', type: 'ai', content: '', tool_calls: ['x', 'y'].map((id) => ({ id, name: `tool-${id}`, args: {} })) }
const DONE: Message = { id: 't', type: 'tool', content: 'x is done', tool_call_id: 'x' }

test('a call is open until it is answered', () => {
  assert.deepEqual(open([ASKED]).map((one) => one.id), ['x', 'y'])
  assert.deepEqual(open([ASKED, DONE]).map((one) => one.id), ['y'])
  assert.deepEqual(open([]), [])
})

test('what failed is answered, and what its neighbours did is kept', () => {
  const tasks = [
    { name: 'tools', error: null, result: { messages: [DONE], seen: 1 } },
    { name: 'tools', error: 'OSError()', result: null },
    { name: 'other', error: null, result: { messages: [{ id: 'no' }] } },
  ]
  const update = skipping([ASKED], tasks)!
  assert.equal(update.as_node, 'tools')
  assert.equal(update.values.seen, 1)
  assert.deepEqual(update.values.messages.map((one: Message) => [one.tool_call_id, one.status]), [['x', undefined], ['y', 'error']])
  assert.equal(skipping([ASKED], [{ ...tasks[0]!, error: null }]), null)
})
