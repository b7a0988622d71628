import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keeper } from './keeper.ts'

function storage(held = new Map<string, string>()) {
  return {
    getItem: (key: string) => held.get(key) ?? null,
    setItem: (key: string, value: string) => void held.set(key, value),
    removeItem: (key: string) => void held.delete(key),
  }
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

test('what is no JSON, or nothing, is as if it were not there', () => {
  const held = keeper(() => kept)
  const kept = storage(new Map([['half', '[1,'], ['null', 'null']]))
  assert.deepEqual(held.read('half', [0]), [0])
  assert.deepEqual(held.read('null', [0]), [0])
})

test('a browser that lets a page have no storage, or is full, ends nothing', () => {
  const full = { ...storage(), setItem: () => { throw new Error('full') } }
  const none = (): never => { throw new Error('access is denied') }
  for (const held of [keeper(none), keeper(() => full)]) {
    held.set('a', '1')
    held.set('a', null)
    assert.equal(held.get('a'), null)
    assert.equal(held.read('a', 7), 7)
  }
})
