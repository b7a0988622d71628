import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Letter } from './outbox.ts'
import { turns } from './turns.ts'
import { EMPTY, type View } from './view.ts'
import type { FlyingTool, Json } from './wire.ts'

const call = { id: 'c', name: 'look', args: { x: 1 } }
const HUMAN = { id: 'h', type: 'human', content: 'Hi' }
const AI = { id: 'a', type: 'ai', content: [{ type: 'text', text: 'Let me look.' }], tool_calls: [call] }
const TOOL = { id: 't', type: 'tool', content: 'seen', tool_call_id: 'c' }
const FLYING: FlyingTool = { tool_call_id: 'c', namespace: [], status: 'running', started_at: 1, last_event_at: 1 }

const view = (messages: Json[], tools: FlyingTool[] | null = null): View => ({
  ...EMPTY,
  values: { messages },
  in_flight: tools && { run_id: 'r', attempt: 1, started_at: 1, last_event_at: 1, stated: true, messages: [], tools },
})
const letter = (id: string): Letter => ({ id, thread: 't', body: {}, text: 'Hi', at: 1, state: 'sent' })

test('a tool call and its answer are one step of the message that made it', () => {
  const said = turns(view([HUMAN, AI, TOOL]), [])
  assert.deepEqual(said.map((one) => one.kind), ['human', 'ai'])
  assert.deepEqual([said[1]!.steps[0]!.status, said[1]!.steps[0]!.result], ['finished', 'seen'])
})

test('a step is what its tool is doing now, and waits while a person is asked', () => {
  assert.equal(turns(view([HUMAN, AI], [FLYING]), [])[1]!.steps[0]!.status, 'running')
  assert.equal(turns(view([HUMAN, AI]), [])[1]!.steps[0]!.status, 'waiting')
  const asked = { ...view([HUMAN, AI], []), interrupts: [{ interrupt_id: 'i', value: { tool_call_id: 'c' }, namespace: [] }] }
  assert.equal(turns(asked, [])[1]!.steps[0]!.status, 'waiting')
})

test('a message is shown from its letter until the server has it', () => {
  assert.equal(turns(EMPTY, [letter('h')])[0]!.letter?.state, 'sent')
  const said = turns(view([HUMAN]), [letter('h')])
  assert.equal(said.length, 1)
  assert.equal(said[0]!.letter, null)
})

test('what has not changed is the very same, so that it is not drawn again', () => {
  const messages = [HUMAN, AI, TOOL]
  const [before, after] = [turns(view(messages), []), turns(view([...messages, { id: 'z', type: 'ai', content: '' }]), [])]
  assert.equal(before[0], after[0])
  assert.equal(before[1], after[1])
})
