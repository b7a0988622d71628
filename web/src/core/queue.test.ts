import assert from 'node:assert/strict'
import { test } from 'node:test'
import { held, queued } from './queue.ts'
import type { QueuedRun } from './wire.ts'

const run = (run_id: string, status: QueuedRun['status'], more: Partial<QueuedRun> = {}): QueuedRun => ({
  run_id,
  status,
  position: status === 'running' ? null : 0,
  paused: false,
  created_at: '',
  asked: null,
  attempt: status === 'running' ? 1 : 0,
  ...more,
})
const names = (queue: QueuedRun[]) => queued(queue).map((one) => one.run_id)

test('the first waits only behind another, or if it is held up', () => {
  assert.deepEqual(names([run('a', 'pending'), run('b', 'pending')]), ['b'])
  assert.deepEqual(names([run('r', 'running'), run('a', 'pending')]), ['a'])
  assert.deepEqual(names([run('a', 'pending', { paused: true }), run('b', 'pending')]), ['a', 'b'])
})

test('one that is held up in its middle has a place of its own, and the others wait behind it', () => {
  const middle = run('m', 'pending', { paused: true, attempt: 1 })
  assert.equal(held([middle, run('a', 'pending')])?.run_id, 'm')
  assert.deepEqual(names([middle, run('a', 'pending')]), ['a'])
  assert.equal(held([run('r', 'running', { paused: true }), run('a', 'pending')])?.run_id, 'r')
  assert.equal(held([run('r', 'running'), run('a', 'pending', { paused: true })]), null)
})
