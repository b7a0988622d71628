import assert from 'node:assert/strict'
import { test } from 'node:test'
import { draftOf, heavy, joined, merged, taken, toKeep, type Kept } from './drafts.ts'

const said = (text: string) => ({ text, pictures: [] })
const cat = { id: '1', name: 'cat.png', mime: 'image/png', base64: 'AAAA' }
const large = { ...cat, id: '2', base64: 'A'.repeat(12e6) }
const still = { thread: 't', revision: 'r1', changed: false }
const typed = { ...still, changed: true }
const kept = (content: string, revision: string): Kept => ({ content, revision })
const NONE: Kept = { content: null, revision: null }

test('what nobody changed stays', () => {
  assert.equal(merged(said('a'), still, kept('a', 'r1'), 'd'), 'keep')
  assert.equal(merged(said(''), { ...still, revision: '' }, NONE, 'd'), 'keep')
  assert.equal(merged(said('a'), still, kept('a', 'r2'), 'd'), 'keep')
  assert.equal(merged(said('a'), typed, kept('a', 'r2'), 'd'), 'keep')
})

test('what was changed on one device only is taken up on the other', () => {
  assert.equal(merged(said('a'), still, kept('b', 'r2'), 'd'), 'take')
  assert.equal(merged(said(''), { ...still, revision: '' }, kept('b', 'r2'), 'd'), 'take')
  assert.equal(merged(said('b'), typed, kept('a', 'r1'), 'd'), 'put')
  assert.equal(merged(said(''), typed, kept('a', 'r1'), 'd'), 'put')
})

test('what was sent on one device does not come back from the other', () => {
  assert.equal(merged(said('a'), still, NONE, 'd'), 'take')
  assert.deepEqual(taken(said('a'), NONE), said(''))
})

test('what is typed is never written over', () => {
  assert.equal(merged(said('b'), typed, kept('c', 'r2'), 'd'), 'ask')
  assert.equal(merged(said('b'), typed, NONE, 'd'), 'put')
  assert.equal(merged(said('b'), { ...typed, revision: '' }, kept('c', 'r2'), 'd'), 'ask')
  assert.equal(merged(said(''), typed, kept('c', 'r2'), 'd'), 'take')
  assert.deepEqual(joined(said('b'), kept('c', 'r2')), said('b\n\nc'))
})

test('what this device wrote itself is older than what it has, though it did not hear the answer', () => {
  assert.equal(merged(said('b'), typed, kept('a', 'd.r2'), 'd'), 'put')
  assert.equal(merged(said(''), typed, kept('a', 'd.r2'), 'd'), 'put')
  assert.equal(merged(said('a'), still, kept('b', 'd.r2'), 'd'), 'take')
  assert.equal(merged(said('b'), typed, kept('a', 'dd.r2'), 'd'), 'ask')
})

test('pictures follow unless they are too large', () => {
  const content = toKeep({ text: 'a', pictures: [cat] })
  assert.deepEqual(draftOf(content), { text: 'a', pictures: [{ ...cat, id: '0', name: '' }] })
  assert.equal(merged({ text: 'a', pictures: [cat] }, typed, { content, revision: 'r2' }, 'd'), 'keep')
  assert.equal(heavy([large]), true)
  const own = { text: 'a', pictures: [large] }
  assert.equal(toKeep(own), 'a')
  assert.deepEqual(taken(own, kept('b', 'r2')), { text: 'b', pictures: [large] })
})
