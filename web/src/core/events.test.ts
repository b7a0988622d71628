import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Events } from './events.ts'
import type { Json } from './wire.ts'

/** Responses whose other end is the test. */
function world(status = 200) {
  const asked: { body: Json; headers: Json; signal: AbortSignal; say(...lines: string[]): void; end(): void }[] = []
  const socket = new Events('http://here/events', async (_, { body, headers, signal }) => {
    let to!: ReadableStreamDefaultController<Uint8Array>
    const stream = new ReadableStream<Uint8Array>({ start: (one) => void (to = one) })
    const say = (...lines: string[]) => to.enqueue(new TextEncoder().encode(lines.join('')))
    asked.push({ body: JSON.parse(String(body)), headers, signal: signal!, say, end: () => to.close() })
    return { ok: status === 200, status, body: stream }
  })
  const heard: Json[] = []
  const closed: number[] = []
  socket.onmessage = ({ data }) => heard.push(JSON.parse(data))
  socket.onclose = ({ code }) => closed.push(code)
  const command = (method: string, params: Json, id = 1) => socket.send(JSON.stringify({ id, method, params }))
  return { socket, asked, heard, closed, command }
}

const soon = () => new Promise((resolve) => setTimeout(resolve, 5))
const data = (frame: Json) => `event: message\ndata: ${JSON.stringify(frame)}\n\n`

test('it is ready when the server has answered, and tells that it lives', async () => {
  const { socket, asked, heard, command } = world()
  socket.onopen = () => command('auth', { token: 'secret' })
  await soon()
  assert.deepEqual(asked[0]!.body, { feed: {} })
  assert.equal(asked[0]!.headers.authorization, 'Bearer secret')
  assert.deepEqual(heard, [])
  asked[0]!.say(data({ type: 'ready', feed: {} }), ': heartbeat\n\n')
  await soon()
  assert.deepEqual(heard, [{ type: 'ready' }, { type: 'heartbeat' }])
})

test('what is watched next is asked for together, from where each is', async () => {
  const { asked, heard, command } = world()
  await soon()
  asked[0]!.say(data({ type: 'ready' }))
  await soon()
  command('feed.subscribe', { since: 0 }, 1)
  command('subscription.subscribe', { thread_id: 't', since: 5 }, 2)
  command('subscription.subscribe', { thread_id: 'gone', since: 0 }, 3)
  await soon()
  assert.equal(asked.length, 2)
  assert.ok(asked[0]!.signal.aborted)
  assert.deepEqual(asked[1]!.body, { feed: { since: 0 }, cursors: { t: 5, gone: 0 } })
  asked[1]!.say(data({ type: 'ready', missing: ['gone'] }))
  await soon()
  const named = (frame: Json) => frame.result.subscription_id
  assert.deepEqual(heard.slice(1).map((one) => [one.type, one.id]), [['success', 1], ['success', 2], ['error', 3]])
  const [feed, thread] = heard.slice(1, 3).map(named)
  asked[1]!.say(data({ type: 'event', thread_id: 't', seq: 6, subscription_id: 'x' }))
  asked[1]!.say(data({ type: 'feed', event: 'changed', cursor: 8, subscription_id: 'y' }))
  await soon()
  assert.deepEqual(heard.slice(4).map((one) => [one.subscription_id, one.seq ?? one.cursor]), [[thread, 6], [feed, 8]])
  command('subscription.subscribe', { thread_id: 'more', since: 1 }, 4)
  await soon()
  assert.deepEqual(asked[2]!.body, { feed: { since: 8 }, cursors: { t: 6, more: 1 } })
})

test('two that watch one thread each get what they have not', async () => {
  const { asked, heard, command } = world()
  command('subscription.subscribe', { thread_id: 't', since: 5 }, 1)
  command('subscription.subscribe', { thread_id: 't', since: 2 }, 2)
  await soon()
  assert.deepEqual(asked[0]!.body.cursors, { t: 2 })
  asked[0]!.say(data({ type: 'ready' }), ...[4, 5, 6].map((seq) => data({ type: 'event', thread_id: 't', seq })))
  await soon()
  const [first, second] = heard.slice(1, 3).map((one) => one.result.subscription_id)
  const got = (name: string) => heard.slice(3).filter((one) => one.subscription_id === name).map((one) => one.seq)
  assert.deepEqual([got(first), got(second)], [[6], [4, 5, 6]])
  command('subscription.unsubscribe', { subscription_id: first })
  asked[0]!.say(data({ type: 'event', thread_id: 't', seq: 7 }), data({ type: 'subscription.ended', thread_id: 't' }))
  await soon()
  assert.deepEqual([got(first), got(second)], [[6], [4, 5, 6, 7, undefined]])
})

test('a frame may come in pieces', async () => {
  const { asked, heard } = world()
  await soon()
  const whole = data({ type: 'ready' })
  for (const part of [whole.slice(0, 20), whole.slice(20, 25), whole.slice(25)]) {
    asked[0]!.say(part)
    await soon()
  }
  assert.deepEqual(heard, [{ type: 'ready' }])
})

test('a response that ends is a cut, and who closes it hears nothing', async () => {
  const first = world()
  await soon()
  first.asked[0]!.end()
  await soon()
  assert.deepEqual(first.closed, [0])
  const second = world()
  await soon()
  second.socket.close()
  second.asked[0]!.end()
  await soon()
  assert.ok(second.asked[0]!.signal.aborted)
  assert.deepEqual(second.closed, [])
  const refused = world(401)
  await soon()
  assert.deepEqual(refused.closed, [4401])
})
