import assert from "node:assert/strict";
import { until } from "../until.mjs";

const say = (content) => ({ messages: [{ role: "human", content }] });
const texts = ({ values }) => values.messages.map((message) => message.content);

// shows: state and history
export async function isReadAtAnyCheckpoint({ client }) {
  const { thread_id } = await client.threads.create({ metadata: { of: "js" } });
  assert.deepEqual((await client.threads.getState(thread_id)).values, {});
  await client.runs.wait(thread_id, "echo", { input: say("one"), metadata: { turn: 1 } });
  await client.runs.wait(thread_id, "echo", { input: say("two"), metadata: { turn: 2 } });
  const state = await client.threads.getState(thread_id);
  assert.deepEqual(texts(state), ["one", "1: one", "two", "3: two"]);
  assert.deepEqual([state.next, state.tasks], [[], []]);

  const history = await client.threads.getHistory(thread_id);
  assert.deepEqual(history.map((each) => each.metadata.step), [4, 3, 2, 1, 0, -1]);
  assert.deepEqual(history[0], state);
  history.slice(0, -1).forEach((each, i) => {
    assert.equal(each.parent_checkpoint.checkpoint_id, history[i + 1].checkpoint.checkpoint_id);
  });
  const { checkpoint } = history[3];
  assert.deepEqual(texts(await client.threads.getState(thread_id, checkpoint)), ["one", "1: one"]);
  assert.deepEqual(texts(await client.threads.getState(thread_id, checkpoint.checkpoint_id)), ["one", "1: one"]);

  const steps = async (query) => (await client.threads.getHistory(thread_id, query)).map((each) => each.metadata.step);
  assert.deepEqual(await steps({ limit: 2 }), [4, 3]);
  assert.deepEqual(await steps({ metadata: { turn: 1 } }), [1, 0, -1]);
  assert.deepEqual(await steps({ before: { configurable: { checkpoint_id: checkpoint.checkpoint_id } } }), [0, -1]);
}

// shows: state updates
export async function isUpdatedAsANode({ client }) {
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "hitl", { input: { n: 1 } });
  const { checkpoint } = await client.threads.updateState(thread_id, { values: { log: ["by hand"] }, asNode: "approve" });
  const state = await client.threads.getState(thread_id);
  assert.equal(state.checkpoint.checkpoint_id, checkpoint.checkpoint_id);
  assert.deepEqual([state.values.log, state.next], [["propose", "by hand"], ["done"]]);
  assert.deepEqual((await client.runs.wait(thread_id, "hitl", { input: null })).log, ["propose", "by hand", "done"]);
}

// shows: fork from a checkpoint
export async function forksAtACheckpoint({ client }) {
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "echo", { input: say("one") });
  const [{ checkpoint }] = await client.threads.getHistory(thread_id, { limit: 1 });
  await client.runs.wait(thread_id, "echo", { input: say("left") });
  await client.runs.wait(thread_id, "echo", { input: say("right"), checkpoint });
  assert.deepEqual(texts(await client.threads.getState(thread_id)), ["one", "1: one", "right", "3: right"]);
  const { checkpoint_id } = checkpoint;
  await client.runs.wait(thread_id, "echo", { input: say("third"), checkpointId: checkpoint_id });
  assert.deepEqual(texts(await client.threads.getState(thread_id)), ["one", "1: one", "third", "3: third"]);

  const branches = (await client.threads.getHistory(thread_id, { limit: 50 })).filter(
    (each) => each.parent_checkpoint?.checkpoint_id === checkpoint_id,
  );
  assert.equal(branches.length, 3);
  const updated = await client.threads.updateState(thread_id, { values: say("by hand"), checkpointId: checkpoint_id });
  assert.deepEqual(texts(await client.threads.getState(thread_id)), ["one", "1: one", "by hand"]);
  assert.equal((await client.threads.getState(thread_id)).checkpoint.checkpoint_id, updated.checkpoint.checkpoint_id);
}

// shows: subgraph state
export async function ofASubgraphIsRead({ client }) {
  const { thread_id } = await client.threads.create();
  const run = await client.runs.create(thread_id, "sub", { input: { ...say("hi"), delay: 60 }, streamMode: "messages-tuple" });
  const nested = await until(async () => {
    const state = await client.threads.getState(thread_id, undefined, { subgraphs: true });
    return state.tasks[0]?.state?.next[0] === "inner" && state;
  });
  assert.deepEqual(nested.next, ["child"]);
  await client.runs.cancel(thread_id, run.run_id, true);
  const flat = await client.threads.getState(thread_id);
  assert.equal(flat.tasks[0].state, null);
  const inner = await client.threads.getState(thread_id, flat.tasks[0].checkpoint);
  assert.deepEqual([inner.next, texts(inner)], [["inner"], ["hi", "from the parent"]]);
  const [newest] = await client.threads.getHistory(thread_id, { checkpoint: flat.tasks[0].checkpoint });
  assert.deepEqual(newest.checkpoint, inner.checkpoint);
}
