import assert from 'node:assert/strict'
import { test } from 'node:test'
import { begin, begun, forget, unanswered } from './begun.ts'
import type { Interrupt } from '../../core/wire.ts'

const [gate, wheel, bell] = ['gate', 'wheel', 'bell'].map((id) => ({ interrupt_id: id, value: `The ${id}?`, namespace: [] }) as Interrupt)
const asked = [gate!, wheel!, bell!]

test('of questions that were answered in part there is always one to ask', () => {
  assert.deepEqual(unanswered([]), [])
  assert.deepEqual(unanswered(asked), asked)
  begin(gate!, { answer: { value: 'red' } })
  begin(wheel!, { answer: { value: 'blue' } })
  assert.deepEqual(unanswered(asked), [bell])
  assert.deepEqual(unanswered([gate!, wheel!]), [wheel]) // the bell was answered on another device
  begin(wheel!, { fields: { answer: 'green' } })
  assert.deepEqual(begun(wheel!).answer, { value: 'blue' })
  forget(asked)
  assert.deepEqual(unanswered(asked), asked)
})
