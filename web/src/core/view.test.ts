import assert from 'node:assert/strict'
import { test } from 'node:test'
import { apply, EMPTY, type View } from './view.ts'
import type { Envelope, Json } from './wire.ts'

let seq = 0
const told = (method: string, data: Json, namespace: string[] = []): Envelope => ({
  seq: ++seq,
  event_id: `synth:run-1:lc||${data.event}`,
  method,
  params: { namespace, timestamp: seq, data },
})
const after = (...envelopes: Envelope[]): View => envelopes.reduce(apply, EMPTY)
const running = () => told('lifecycle', { event: 'running' })

test('text grows by what is added and is never applied twice', () => {
  const start = told('messages', { event: 'message-start', id: 'm', role: 'ai' })
  const block = told('messages', { event: 'content-block-start', id: 'm', index: 0, content: { type: 'text', text: '' } })
  const delta = told('messages', { event: 'content-block-delta', id: 'm', index: 0, delta: { type: 'text-delta', text: 'hi' } })
  const view = after({ ...running(), seq: 0.5 }, start, block, delta, delta)
  assert.equal(view.in_flight?.messages[0]?.text, 'hi')
  assert.equal(apply(view, delta), view)
})

test('what the state holds is in flight no longer', () => {
  const view = after(
    running(),
    told('messages', { event: 'message-start', id: 'm', role: 'ai' }),
    told('tools', { event: 'tool-started', tool_call_id: 'c', tool_name: 'look', input: {} }),
    told('values', { messages: [{ id: 'm', type: 'ai', content: 'hi' }] }),
  )
  assert.deepEqual(view.in_flight?.messages, [])
  assert.equal(view.in_flight?.tools.length, 1)
})

test('an end keeps only the questions that it names', () => {
  const asked = (id: string) => told('input.requested', { interrupt_id: id, value: id })
  const view = after(running(), asked('a'), asked('b'), told('lifecycle', { event: 'interrupted', interrupts: ['b'] }))
  assert.deepEqual(view.interrupts.map((one) => one.interrupt_id), ['b'])
  assert.equal(view.in_flight, null)
  assert.equal(view.stale, true)
})
