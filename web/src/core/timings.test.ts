import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Timings, type Page } from './timings.ts'

const run = (name: string): Page['runs'][0] => ({
  run_id: name,
  messages: { [`${name}-calls`]: { first_token_ms: 5, finished_ms: 6 }, [name]: { first_token_ms: 50, finished_ms: 90 } },
  tools: { [`${name}-call`]: 7 },
})

/** A server that has these runs, the newest first, in pages of two; `asked` are the queries. */
function server(runs: string[], { down = false } = {}) {
  const asked: string[] = []
  const state = { runs, down }
  const ask = async (query: string): Promise<Page> => {
    asked.push(query)
    if (state.down) throw new TypeError('no network')
    const before = /before=(.+)/.exec(query)?.[1]
    const from = before === undefined ? 0 : state.runs.indexOf(before) + 1
    const shown = state.runs.slice(from, from + 2)
    return { runs: shown.map(run), next_before: from + 2 < state.runs.length ? shown.at(-1)! : null }
  }
  return { asked, state, timings: new Timings(ask, () => {}) }
}

const settled = () => new Promise((resolve) => setTimeout(resolve))

test('what is looked at together is asked for once; an answer counts from what its run said first', async () => {
  const { asked, timings } = server(['b', 'a'])
  for (const id of ['b', 'b-call', 'a']) timings.want(id)
  await settled()
  assert.deepEqual(asked, ['limit=50'])
  assert.deepEqual(timings.answers.get('b'), { first: 5, all: 90 })
  assert.equal(timings.tools.get('b-call'), 7)
})

test('it reads back as far as one looks, and no further', async () => {
  const { asked, timings } = server(['f', 'e', 'd', 'c', 'b', 'a'])
  const leave = timings.want('c')
  await settled()
  assert.deepEqual(asked, ['limit=50', 'limit=1000&before=e'])
  leave()
  timings.want('none')
  await settled()
  assert.equal(asked.length, 3)
  timings.want('neither')
  await settled()
  assert.equal(asked.length, 3, 'all is read: what is not there is not asked for again')
})

test('a run that ended is asked for, and a gap before it is read', async () => {
  const { asked, state, timings } = server(['b', 'a'])
  timings.want('a')
  await settled()
  timings.want('c')
  await settled()
  assert.equal(asked.length, 1)
  state.runs = ['e', 'd', 'c', 'b', 'a']
  timings.renew()
  await settled()
  assert.deepEqual(asked.slice(1), ['limit=50', 'limit=1000&before=d'])
  assert.equal(timings.answers.has('c'), true)
})

test('without a server it is asked again when there is one', async () => {
  const { asked, state, timings } = server(['a'], { down: true })
  timings.want('a')
  await settled()
  assert.equal(timings.answers.size, 0)
  state.down = false
  for (const _ of [1, 2]) {
    timings.retry()
    await settled()
  }
  assert.equal(timings.answers.has('a'), true)
  assert.equal(asked.length, 2)
})
