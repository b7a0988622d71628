import assert from 'node:assert/strict'
import { test } from 'node:test'
import { beside, moved, opened } from './tabs.ts'

test('a thread opens behind the one that was shown, once', () => {
  assert.deepEqual(opened([], 'a', null, false), ['a'])
  assert.deepEqual(opened(['a', 'b'], 'c', 'a', false), ['a', 'c', 'b'])
  assert.deepEqual(opened(['a', 'b'], 'c', 'gone', false), ['a', 'b', 'c'])
  assert.deepEqual(opened(['a', 'b'], 'b', 'a', false), ['a', 'b'])
})

test('it takes the place of one that never began', () => {
  assert.deepEqual(opened(['a', 'new', 'b'], 'c', 'new', true), ['a', 'c', 'b'])
  assert.deepEqual(opened(['a', 'new', 'b'], 'b', 'new', true), ['a', 'b'])
  assert.deepEqual(opened(['a', 'new'], 'new', 'new', true), ['a', 'new'])
})

test('the next one is shown when one is closed', () => {
  assert.equal(beside(['a', 'b', 'c'], 'b'), 'c')
  assert.equal(beside(['a', 'b', 'c'], 'c'), 'b')
  assert.equal(beside(['a'], 'a'), undefined)
})

test('one is moved to the place of another', () => {
  assert.deepEqual(moved(['a', 'b', 'c'], 'a', 'c'), ['b', 'c', 'a'])
  assert.deepEqual(moved(['a', 'b', 'c'], 'c', 'a'), ['c', 'a', 'b'])
})
