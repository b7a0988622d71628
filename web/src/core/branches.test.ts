import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agrees, branching, reworded, ways, type Path } from './branches.ts'
import type { Message } from './wire.ts'

const message = (id: string, type: string, more: Partial<Message> = {}): Message => ({ id, type, content: id, ...more })
const call = { tool_calls: [{ id: 'c', name: 'look', args: {} }] }
const said = [message('h1', 'human'), message('a1', 'ai', call), message('t1', 'tool'), message('a2', 'ai'), message('h2', 'human')]
const sibling = (id: string) => ({ message_id: id, preview: id, checkpoint_id: `at-${id}`, head: `head-${id}` })

function path(forked: Record<string, string[]> = {}): Path {
  const messages = said.map(({ id }, place) => {
    const others = forked[id]
    const more = others ? { shown: others.indexOf(id), siblings: others.map(sibling) } : {}
    return { message: { id }, checkpoint_id: `at-${id}`, fork_from: `before-${id}`, ...more, place }
  })
  return { head: 'x', at: 'x', forked_from: null, messages }
}

test('an answer begins anew where its first call of a tool did', () => {
  const found = ways(path(), said)
  assert.deepEqual([...found.values()].map((one) => one.from), ['before-h1', 'before-a1', 'before-a1', 'before-a1', 'before-h2'])
  assert.equal(found.get('a2')!.checkpoint, 'at-a2')
})

test('other answers are offered beside the words that an answer ends with', () => {
  const found = ways(path({ a1: ['a0', 'a1'], a2: ['a2', 'a3'] }), said)
  assert.deepEqual(found.get('a2')!.choices.map((one) => [one.shown, one.siblings.length]), [[1, 2], [0, 2]])
  assert.deepEqual(found.get('h2')!.choices, [])
})

test('other questions are offered beside the question only', () => {
  const found = ways(path({ h1: ['h0', 'h1', 'h3'] }), said)
  assert.deepEqual(found.get('h1')!.choices, [{ shown: 1, siblings: ['h0', 'h1', 'h3'].map(sibling) }])
  assert.deepEqual(found.get('a2')!.choices, [])
})

test('a path of other messages is told apart', () => {
  assert.ok(agrees(path(), said))
  assert.ok(!agrees(path(), said.slice(1)))
  assert.ok(!agrees(path(), [...said.slice(0, -1), message('h9', 'human')]))
})

test('pictures stay when words change', () => {
  const image = { type: 'image', url: 'x' }
  assert.equal(reworded('old', 'new'), 'new')
  assert.deepEqual(reworded([{ type: 'text', text: 'old' }, image], 'new'), [{ type: 'text', text: 'new' }, image])
})

test('the map is a tree of pieces', () => {
  const piece = (above: number | null, preview: string) => ({ above, preview, messages: 1, shown: true, now: false, head: '', time: 0, names: [] })
  const [one, other] = branching([piece(null, 'a'), piece(0, 'b'), piece(1, 'c'), piece(0, 'd'), piece(null, 'e')])
  assert.deepEqual(one!.after.map((piece) => [piece.preview, piece.last]), [['b', false], ['d', true]])
  assert.equal(one!.after[0]!.after[0]!.preview, 'c')
  assert.equal(other!.last, true)
})
