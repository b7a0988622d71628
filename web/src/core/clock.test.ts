import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ahead } from './clock.ts'

const DATE = 'Sun, 29 Nov 2026 12:00:00 GMT'
const AT = Date.parse(DATE)

test('clocks that may well agree are left alone', () => {
  for (const ms of [0, 400, 999, 2400]) assert.equal(ahead(DATE, AT + ms), 0)
})

test('a clock that is minutes off is set right, to the second', () => {
  assert.ok(Math.abs(ahead(DATE, AT + 600_000) + 600_000) <= 500)
  assert.ok(Math.abs(ahead(DATE, AT - 600_000) - 600_000) <= 500)
})

test('an answer that tells no time changes nothing', () => {
  assert.equal(ahead(null, AT), 0)
  assert.equal(ahead('soon', AT), 0)
})
