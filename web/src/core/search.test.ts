import assert from 'node:assert/strict'
import { test } from 'node:test'
import { matches, pieces, ranked } from './search.ts'

test('a title matches when it has each word', () => {
  assert.ok(matches('Café in the Straße', 'cafe THE'))
  assert.ok(matches('退款给我', '退款'))
  assert.ok(matches('anything', ''))
  assert.ok(!matches('Refund', 'refund order'))
})

test('what was found is marked, and markup stays text', () => {
  assert.deepEqual(pieces('a [[b]] <i>[[c]]'), [
    { text: 'a ', found: false },
    { text: 'b', found: true },
    { text: ' <i>', found: false },
    { text: 'c', found: true },
  ])
  assert.deepEqual(pieces('[[1, 2'), [{ text: '[[1, 2', found: false }])
})

test('what begins with the query comes first, the rest as it was', () => {
  const all = ['An order', 'Orders', 'None', 'Reorder', 'ordinary order']
  assert.deepEqual(ranked(all, (one) => one, 'order'), ['Orders', 'An order', 'Reorder', 'ordinary order'])
  assert.deepEqual(ranked(all, (one) => one, ' '), all)
})
