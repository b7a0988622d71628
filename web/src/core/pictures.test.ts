import assert from 'node:assert/strict'
import { test } from 'node:test'
import { contentOf, fits, LARGEST, picturesOf, smaller } from './pictures.ts'

const one = { id: '1', name: 'cat.png', mime: 'image/png', base64: 'AAAA' }

test('a message with pictures has blocks, one without is a text', () => {
  assert.equal(contentOf('Hi', []), 'Hi')
  const image = { type: 'image', base64: 'AAAA', mime_type: 'image/png' }
  assert.deepEqual(contentOf('Hi', [one]), [{ type: 'text', text: 'Hi' }, image])
  assert.deepEqual(contentOf('', [one, one]), [image, image])
  assert.deepEqual(contentOf('Hi', picturesOf(contentOf('Hi', [one]))), contentOf('Hi', [one]))
})

test('what is no picture, or too large, does not fit', () => {
  assert.equal(fits({ type: 'image/png', size: LARGEST }), true)
  assert.equal(fits({ type: 'image/png', size: LARGEST + 1 }), false)
  assert.equal(fits({ type: 'image/svg+xml', size: 1 }), false)
})

test('only a large picture is made smaller, and keeps its form', () => {
  assert.equal(smaller(2000, 1000, 1e6), null)
  assert.deepEqual(smaller(4000, 1000, 1e6), { width: 2000, height: 500 })
  assert.deepEqual(smaller(1000, 1000, 2e6), { width: 1000, height: 1000 })
  assert.deepEqual(smaller(9000, 1, 1e6), { width: 2000, height: 1 })
})
