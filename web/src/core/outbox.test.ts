import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cache } from './cache.ts'
import { Outbox, type Letter, type Post } from './outbox.ts'

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
