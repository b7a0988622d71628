import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Hub, type Clock, type Socket, type Told } from './hub.ts'
import type { Json } from './wire.ts'

/** A clock that is moved by hand, and sockets whose other end is the test. */
function world() {
  let now = 0
  let timers: { at: number; run: () => void }[] = []
  const clock: Clock = {
    now: () => now,
    random: () => 1,
    later(run, ms) {
      const timer = { at: now + ms, run }
      timers.push(timer)
      return timer
    },
    cancel(timer) {
      timers = timers.filter((one) => one !== timer)
    },
  }
  const pass = (ms: number) => {
    const until = now + ms
    for (;;) {
      const next = timers.filter((one) => one.at <= until).sort((a, b) => a.at - b.at)[0]
      if (!next) break
      now = next.at
      timers = timers.filter((one) => one !== next)
      next.run()
    }
    now = until
  }
  const sockets: (Socket & { sent: Json[]; say(frame: Json): void })[] = []
  const told: Told[] = []
  const streamed: boolean[] = []
  const hub = new Hub(
    (one) => {
      streamed.push(one)
      const socket = {
        sent: [] as Json[],
        onopen: null,
        onmessage: null as ((event: any) => void) | null,
        onclose: null,
        send(text: string) {
          this.sent.push(JSON.parse(text))
        },
        close() {},
        say(frame: Json) {
          this.onmessage?.({ data: JSON.stringify(frame) })
        },
      }
      sockets.push(socket)
      return socket
    },
    (one) => told.push(one),
    clock,
  )
  const frames = () => told.flatMap((one) => (one.type === 'frame' ? [one.frame.seq] : []))
  return { hub, sockets, told, frames, pass, streamed }
}

test('a cut goes on behind the last event that came', () => {
  const { hub, sockets, frames, pass } = world()
  hub.start(null)
  hub.watch({ id: 'w', thread: 't', since: 5 })
  sockets[0]!.say({ type: 'ready' })
  assert.deepEqual(sockets[0]!.sent[0].params, { thread_id: 't', since: 5 })
  sockets[0]!.say({ type: 'success', id: sockets[0]!.sent[0].id, result: { subscription_id: 's' } })
  sockets[0]!.say({ type: 'event', seq: 9, subscription_id: 's' })
  sockets[0]!.onclose!({ code: 1006 })
  assert.equal(hub.current.phase, 'waiting')
  pass(hub.current.retryAt!)
  sockets[1]!.say({ type: 'ready' })
  assert.deepEqual(sockets[1]!.sent[0].params, { thread_id: 't', since: 9 })
  assert.deepEqual(frames(), [9])
})

test('it tries for ever, ever more slowly, and at once when somebody looks', () => {
  const { hub, sockets, pass } = world()
  hub.start(null)
  for (let tries = 1; tries < 40; tries++) {
    sockets.at(-1)!.onclose!({ code: 1006 })
    assert.equal(hub.current.phase, 'waiting')
    pass(15_000)
    assert.equal(sockets.length, tries + 1)
  }
  sockets.at(-1)!.onclose!({ code: 1006 })
  const before = sockets.length
  hub.wake()
  assert.equal(sockets.length, before + 1)
})

test('a connection that only seems to be there is given up', () => {
  const { hub, sockets, pass } = world()
  hub.start(null)
  sockets[0]!.say({ type: 'ready' })
  pass(20_000)
  assert.equal(sockets[0]!.sent.at(-1).method, 'ping')
  pass(8_000)
  assert.equal(hub.current.phase, 'waiting')
})

test('a token is said first, and one that is refused ends the tries', () => {
  const { hub, sockets, pass } = world()
  hub.start('secret')
  sockets[0]!.onopen!({})
  assert.deepEqual(sockets[0]!.sent[0].params, { token: 'secret' })
  sockets[0]!.onclose!({ code: 4401 })
  assert.equal(hub.current.phase, 'refused')
  pass(100_000)
  assert.equal(sockets.length, 1)
})

test('what is not there is said once and not asked for again', () => {
  const { hub, sockets, told, pass } = world()
  hub.start(null)
  hub.watch({ id: 'w', thread: 't', since: 0 })
  sockets[0]!.say({ type: 'ready' })
  sockets[0]!.say({ type: 'error', id: sockets[0]!.sent[0].id, error: 'not_found' })
  assert.deepEqual(told.at(-1), { type: 'gone', watch: 'w' })
  sockets[0]!.onclose!({ code: 1006 })
  pass(1_000)
  sockets[1]!.say({ type: 'ready' })
  assert.deepEqual(sockets[1]!.sent, [])
})

test('where no WebSocket gets through, every other try is a stream', () => {
  const { hub, sockets, streamed, pass } = world()
  hub.start(null)
  const cut = () => {
    sockets.at(-1)!.onclose!({ code: 1006 })
    pass(15_000)
  }
  for (let tries = 0; tries < 4; tries++) cut()
  assert.deepEqual(streamed, [false, true, false, true, false])
  cut()
  sockets.at(-1)!.say({ type: 'ready' })
  cut()
  assert.deepEqual(streamed.slice(5), [true, true])
})

test('where one got through, a server that is away for long is waited for first', () => {
  const { hub, sockets, streamed, pass } = world()
  hub.start(null)
  sockets[0]!.say({ type: 'ready' })
  for (let tries = 0; tries < 6; tries++) {
    sockets.at(-1)!.onclose!({ code: 1006 })
    pass(15_000)
  }
  assert.deepEqual(streamed, [false, false, false, false, false, true, false])
})
