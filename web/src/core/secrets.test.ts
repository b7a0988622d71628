import assert from 'node:assert/strict'
import { test } from 'node:test'
import { veiled } from './secrets.ts'

test('values are hidden whose names say so, at any depth', () => {
  const given = { password: 'a', apiKey: 'b', api_key: 'c', accessToken: 'd', of: [{ Authorization: 'e' }], user: 'ann' }
  const shown = { password: '•••', apiKey: '•••', api_key: '•••', accessToken: '•••', of: [{ Authorization: '•••' }], user: 'ann' }
  assert.deepEqual(veiled(given), shown)
})

test('what is no secret stays', () => {
  const given = { max_tokens: 5, passage: 'x', tokenizer: 'y', secretary: null, list: [1, 'password'] }
  assert.deepEqual(veiled(given), given)
  assert.equal(veiled('password'), 'password')
})
