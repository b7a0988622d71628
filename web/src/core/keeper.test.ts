import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keeper } from './keeper.ts'

/** As a browser's: what it holds are properties of its own. */
function storage(held: Record<string, string> = {}) {
  const methods = {
    getItem: (key: string) => held[key] ?? null,
    setItem: (key: string, value: string) => void (held[key] = value),
    removeItem: (key: string) => void delete held[key],
  }
  return Object.setPrototypeOf(held, methods) as Storage
}

test('what is kept is there until it is taken away', () => {
  const held = keeper(() => kept)
  const kept = storage()
  assert.equal(held.get('a'), null)
  held.set('a', '[1]')
  assert.equal(held.get('a'), '[1]')
  assert.deepEqual(held.read('a', []), [1])
  held.set('a', null)
  assert.equal(held.get('a'), null)
  assert.deepEqual(held.read('a', ['else']), ['else'])
})

test('what is kept is found by how its key begins', () => {
  const held = keeper(() => kept)
  const kept = storage()
  for (const one of ['ab', 'ac', 'b']) held.set(one, '1')
  assert.deepEqual(held.keys('a'), ['ab', 'ac'])
})

test('what is no JSON, or nothing, is as if it were not there', () => {
  const held = keeper(() => kept)
  const kept = storage({ half: '[1,', null: 'null' })
  assert.deepEqual(held.read('half', [0]), [0])
  assert.deepEqual(held.read('null', [0]), [0])
})

test('a browser that lets a page have no storage, or is full, ends nothing', () => {
  const full = Object.create(storage(), { setItem: { value: () => { throw new Error('full') } } })
  const none = (): never => { throw new Error('access is denied') }
  for (const held of [keeper(none), keeper(() => full)]) {
    held.set('a', '1')
    held.set('a', null)
    assert.equal(held.get('a'), null)
    assert.equal(held.read('a', 7), 7)
    assert.deepEqual(held.keys('a'), [])
  }
})
