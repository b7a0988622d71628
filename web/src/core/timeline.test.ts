import assert from 'node:assert/strict'
import { test } from 'node:test'
import { turnOf } from './turns.ts'
import { begun, changes, gist, line, steps } from './timeline.ts'
import type { Message } from './wire.ts'

const columns = ['id', 'parent', 'new', 'removed', 'source', 'step', 'next', 'time', 'run']
const tree = {
  head: 'c',
  total: 5,
  columns,
  runs: ['run-1'],
  checkpoints: [
    ['d', 2, ['m2'], ['m1'], 'loop', 2, [], 4, null],
    ['c', 1, null, null, 'loop', 2, [], 3, 0],
    ['b', 1, ['m1'], null, 'loop', 1, ['agent'], 2, 0],
    ['a', 'older', null, null, 'input', 0, ['__start__'], 1, 0],
  ],
  next_before: 'a',
}

test('rows are steps, each with the id of the one before it', () => {
  const all = steps(tree)
  assert.deepEqual(all.map((one) => one.parent), ['b', 'b', 'a', 'older'])
  assert.deepEqual(all.map((one) => one.run), [null, 'run-1', 'run-1', 'run-1'])
  assert.deepEqual([all[0]!.removed, all[1]!.new], [['m1'], []])
})

test('the line to a step leaves other branches out', () => {
  assert.deepEqual([...line(steps(tree), 'c')], ['c', 'b', 'a'])
  assert.deepEqual([...line(steps(tree), null)], [])
})

test('states differ in messages, message by message, and by key', () => {
  const one = { type: 'human', id: '1', content: 'a' }
  const two = { type: 'ai', id: '2', content: 'b' }
  const changed = { ...one, content: 'c' }
  assert.deepEqual(changes({ channels: { gone: { a: 0 }, list: { b: [1] } }, a: { messages: [one] }, b: { messages: [changed, two] } }), [
    { key: 'messages', id: '1', before: one, after: changed },
    { key: 'messages', id: '2', before: undefined, after: two },
    { key: 'gone', before: 0, after: undefined },
    { key: 'list', before: undefined, after: [1] },
  ])
  assert.deepEqual(begun({ messages: [one], n: 0 }), [
    { key: 'messages', id: '1', before: undefined, after: one },
    { key: 'n', before: undefined, after: 0 },
  ])
  assert.deepEqual(begun(null), [])
})

test('what a tool answered is shown where it was called', () => {
  const held = [
    { id: 'h', type: 'human', content: '' },
    { id: 'a', type: 'ai', content: '', tool_calls: [{ id: 'c', name: 'look', args: {} }] },
    { id: 't', type: 'tool', content: '', tool_call_id: 'c' },
  ] as Message[]
  assert.deepEqual(['h', 'a', 't', 'x'].map((id) => turnOf(held, id)), ['h', 'a', 'a', null])
})

test('a message in a line', () => {
  const call = { id: 'c', name: 'look', args: {} }
  assert.equal(gist({ id: '1', type: 'human', content: 'one\n two' }), 'one two')
  assert.equal(gist({ id: '1', type: 'ai', content: [{ type: 'text', text: ' ' }], tool_calls: [call, { ...call, name: 'ask' }] }), 'look, ask')
  assert.equal(gist({ id: '1', type: 'ai', content: 'x'.repeat(500) }).length, 120)
})
