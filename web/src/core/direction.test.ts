import assert from 'node:assert/strict'
import { test } from 'node:test'
import { directionOf } from './direction.ts'

test('what is written goes where its first letter goes', () => {
  for (const text of ['', '42!', 'hello שלום', '你好', '🧑‍🚀 hi', '1. Привет']) assert.equal(directionOf(text), 'ltr', text)
  for (const text of ['שלום hello', '42 مرحبا', '«סימן»', '🧑‍🚀 سلام']) assert.equal(directionOf(text), 'rtl', text)
})
