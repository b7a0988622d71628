import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { Cache } from './cache.ts'

test('a browser that never opens its database keeps what there is in the tab, and it is told', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  Object.assign(globalThis, { indexedDB: { open: () => ({}) } })
  let failed = 0
  const cache = new Cache('here', () => failed++)
  const put = cache.put('draft:1', 'Hello')
  mock.timers.tick(60_000)
  await put
  assert.equal(await cache.get('draft:1'), 'Hello')
  assert.deepEqual(await cache.all('draft:'), ['Hello'])
  assert.ok(failed > 0)
  mock.timers.reset()
})
