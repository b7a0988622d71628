import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cache } from './cache.ts'
import { LATE_MS, Outbox, settled, type Letter, type Post } from './outbox.ts'
import { EMPTY } from './view.ts'
import type { Flight, QueuedRun } from './wire.ts'

const letter = (id: string, thread = 't') => ({ id, thread, body: {}, text: id, at: 1 })

function box(post: Post, kept = new Cache('none')) {
  let now: readonly Letter[] = []
  const outbox = new Outbox(kept, post, (letters) => (now = letters))
  return { outbox, kept, now: () => now.map((one) => `${one.id} ${one.state}`) }
}

test('what cannot be sent waits, and goes later in its order', async () => {
  let reachable = false
  const sent: string[] = []
  const { outbox, now } = box(async (one) => {
    if (!reachable) return { later: true }
    sent.push(one.id)
    return { run: `run-${one.id}` }
  })
  await outbox.add(letter('a'))
  await outbox.add(letter('b'))
  assert.deepEqual(now(), ['a waiting', 'b waiting'])
  reachable = true
  await outbox.flush()
  assert.deepEqual(sent, ['a', 'b'])
  assert.deepEqual(now(), ['a sent', 'b sent'])
})

test('one that is not kept yet does not say that it waits', async () => {
  const kept = new Cache('none')
  let stored = () => {}
  kept.put = () => new Promise((resolve) => (stored = resolve))
  const { outbox, now } = box(async () => ({ later: true }), kept)
  const adding = outbox.add(letter('a'))
  assert.deepEqual(now(), ['a new'])
  stored()
  await adding
  assert.deepEqual(now(), ['a waiting'])
})

test('a page that is loaded again sends what the one before could not', async () => {
  const first = box(async () => ({ later: true }))
  await first.outbox.add(letter('a'))
  const second = box(async () => ({ run: 'r' }), first.kept)
  await second.outbox.load()
  await second.outbox.flush()
  assert.deepEqual(second.now(), ['a sent'])
})

test('a tab that is closed leaves its letters to another one', async () => {
  let now = 0
  const first = box(async () => ({ later: true }))
  const second = box(async () => ({ run: `r${++now}` }), first.kept)
  await second.outbox.load()
  await first.outbox.add(letter('a'))
  await first.outbox.add(letter('b'))
  await second.outbox.load()
  await second.outbox.flush()
  assert.deepEqual(second.now(), ['a sent', 'b sent'])
  await second.outbox.load()
  assert.deepEqual(second.now(), ['a sent', 'b sent'])
})

test('what is over in one tab is so in the others, and does not come back', async () => {
  const first = box(async () => ({ later: true }))
  const second = box(async () => ({ later: true }), first.kept)
  await first.outbox.add(letter('a'))
  await first.outbox.add(letter('b'))
  await second.outbox.load()
  await first.outbox.drop('a')
  await second.outbox.load()
  assert.deepEqual(second.now(), ['b waiting'])
  const loading = second.outbox.load() // which has read it before it is dropped
  await second.outbox.drop('b')
  await loading
  assert.deepEqual(second.now(), [])
})

test('one that is refused says why and lets the others pass', async () => {
  const { outbox, now } = box(async (one) => (one.id === 'a' ? { refused: 'No.' } : { run: 'r' }))
  await outbox.add(letter('a'))
  await outbox.add(letter('b'))
  assert.deepEqual(now(), ['a failed', 'b sent'])
})

test('two flushes at once send each letter once', async () => {
  const sent: string[] = []
  let go = () => {}
  const gate = new Promise<void>((resolve) => (go = resolve))
  const { outbox } = box(async (one) => {
    sent.push(one.id)
    await gate
    return { run: 'r' }
  })
  const adding = outbox.add(letter('a'))
  const flushing = outbox.flush()
  go()
  await Promise.all([adding, flushing])
  assert.deepEqual(sent, ['a'])
})

test('what was to join an answer that was stopped is in the queue, and no longer under way', () => {
  const sent: Letter = { ...letter('a'), state: 'sent', run: 'r', steers: true }
  const waits = { run_id: 'later', status: 'pending', paused: true } as QueuedRun
  const running = { run_id: 'r', status: 'running', paused: false } as QueuedRun
  assert.equal(settled(sent, EMPTY, [running], 1), false)
  assert.equal(settled(sent, EMPTY, [], 1), false) // the queue is not read again yet
  assert.equal(settled(sent, EMPTY, [waits], 1), true)
  const next = { ...EMPTY, in_flight: { run_id: 'next' } as Flight }
  assert.equal(settled(sent, next, [{ ...running, run_id: 'next' }, waits], 1), true)
  assert.equal(settled({ ...sent, steers: false }, EMPTY, [waits], 1), false)
  assert.equal(settled(sent, EMPTY, [], 1 + LATE_MS), true)
  assert.equal(settled({ ...sent, state: 'waiting' }, EMPTY, [waits], 1), false)
  assert.equal(settled({ ...sent, state: 'waiting' }, { ...EMPTY, values: { messages: [{ type: 'human', id: 'a' }] } }, [], 1), true)
})
