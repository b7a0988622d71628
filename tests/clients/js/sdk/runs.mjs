import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { progressed, statusIs, until } from "../until.mjs";

const LONG = { steps: 10_000 };

// shows: runs; run id from the headers
export async function areMadeAndJoined({ client }) {
  const { thread_id } = await client.threads.create();
  let announced;
  const run = await client.runs.create(thread_id, "counter", {
    input: { limit: 3 },
    metadata: { of: "js" },
    config: { configurable: { colour: "red" }, tags: ["t"] },
    onRunCreated: (metadata) => (announced = metadata),
  });
  assert.deepEqual(announced, { run_id: run.run_id, thread_id });
  assert.equal(run.metadata.of, "js");
  assert.equal(run.kwargs.config.configurable.colour, "red");
  assert.equal((await client.runs.join(thread_id, run.run_id)).n, 3);
  assert.equal((await client.runs.get(thread_id, run.run_id)).status, "success");
  await client.runs.delete(thread_id, run.run_id);
  await assert.rejects(client.runs.get(thread_id, run.run_id), { status: 404 });
}

// shows: runs
export async function areListed({ client }) {
  const { thread_id } = await client.threads.create();
  const ids = [];
  for (const limit of [1, 2, 3]) ids.unshift((await client.runs.create(thread_id, "counter", { input: { limit } })).run_id);
  await client.runs.join(thread_id, ids[0]);
  const listed = async (query) => (await client.runs.list(thread_id, query)).map((run) => run.run_id);
  assert.deepEqual(await listed(), ids);
  assert.deepEqual(await listed({ limit: 1, offset: 1 }), [ids[1]]);
  assert.deepEqual(await listed({ status: "error" }), []);
}

// shows: select and extract
export async function areListedWithChosenFields({ client }) {
  const { thread_id } = await client.threads.create();
  const { run_id } = await client.runs.create(thread_id, "counter", { input: {} });
  assert.deepEqual(await client.runs.list(thread_id, { select: ["run_id"] }), [{ run_id }]);
  await assert.rejects(client.runs.list(thread_id, { select: ["nonsense"] }), { status: 422 });
}

// shows: runs; context and config; threads made by their first run
export async function areWaitedFor({ client }) {
  const { thread_id } = await client.threads.create();
  let announced;
  const onRunCreated = (metadata) => (announced = metadata);
  const output = await client.runs.wait(thread_id, "ctx", { input: { question: "?" }, context: { name: "Ada" }, onRunCreated });
  assert.deepEqual(output, { reply: "Ada/None/vanilla" });
  assert.equal((await client.runs.get(thread_id, announced.run_id)).status, "success");
  assert.equal((await client.runs.wait(randomUUID(), "counter", { input: { limit: 2 }, ifNotExists: "create" })).n, 2);
}

// shows: stateless runs and batches
export async function needNoThread({ client }) {
  assert.equal((await client.runs.wait(null, "counter", { input: { limit: 2 } })).n, 2);
  let made;
  for await (const _ of client.runs.stream(null, "counter", {
    input: { limit: 2 },
    onCompletion: "keep",
    onRunCreated: (metadata) => (made = metadata),
  }));
  const run = await client.runs.create(null, "counter", { input: { limit: 2 }, onCompletion: "keep" });
  assert.equal((await client.runs.join(run.thread_id, run.run_id)).n, 2);
  assert.equal(made.run_id.length, 36);
}

// shows: stateless runs and batches
export async function areMadeInBatches({ client }) {
  const [{ thread_id }, payload] = [await client.threads.create(), { assistantId: "counter", input: { limit: 2 } }];
  const runs = await client.runs.createBatch([payload, { ...payload, metadata: { second: true } }]);
  assert.deepEqual(runs.map((run) => run.metadata.second), [undefined, true]);
  assert.notEqual(runs[0].run_id, runs[1].run_id);
  assert.deepEqual(await client.runs.list(thread_id), []);
}

// shows: cancel with `interrupt`; cancel with `rollback`
export async function areCancelled({ client }) {
  const { thread_id } = await client.threads.create();
  const run = await client.runs.create(thread_id, "slow", { input: LONG });
  await progressed(client, thread_id);
  await client.runs.cancel(thread_id, run.run_id, true);
  assert.equal((await client.runs.get(thread_id, run.run_id)).status, "interrupted");
  const state = await client.threads.getState(thread_id);
  assert.deepEqual([state.next, state.values.log.length > 0], [["step"], true]);
  await assert.rejects(client.runs.cancel(thread_id, run.run_id), { status: 404 });

  const second = await client.runs.create(thread_id, "slow", { input: LONG });
  await client.runs.cancel(thread_id, second.run_id, false, "rollback");
  await until(() => client.runs.get(thread_id, second.run_id).then(() => false, (error) => error.status === 404));
  assert.deepEqual((await client.threads.getState(thread_id)).values, state.values);
}

// shows: cancel many runs at once
export async function areCancelledTogether({ client }) {
  const { thread_id } = await client.threads.create();
  const runs = [];
  for (let i = 0; i < 3; i++) runs.push(await client.runs.create(thread_id, "slow", { input: LONG }));
  await client.runs.cancelMany({ threadId: thread_id, runIds: runs.map((run) => run.run_id) });
  for (const run of runs) await statusIs(client, thread_id, run.run_id, "interrupted");
  await assert.rejects(client.runs.cancelMany({ threadId: thread_id, runIds: [randomUUID()] }), { status: 404 });
}

// shows: multitask: reject; multitask: enqueue; multitask: interrupt; multitask: rollback
export async function shareAThreadAsTheStrategySays({ client }) {
  const begin = async () => {
    const { thread_id } = await client.threads.create();
    const run = await client.runs.create(thread_id, "slow", { input: { ...LONG, tag: "a" } });
    await progressed(client, thread_id);
    return { thread_id, run_id: run.run_id };
  };
  const then = (thread_id, multitaskStrategy) =>
    client.runs.create(thread_id, "slow", { input: { steps: 1, tag: "b" }, multitaskStrategy });

  const { thread_id, run_id } = await begin();
  await assert.rejects(then(thread_id, "reject"), { status: 409 });
  const queued = await then(thread_id, "enqueue");
  assert.equal(queued.status, "pending");
  const winner = await then(thread_id, "interrupt");
  await client.runs.join(thread_id, winner.run_id);
  await statusIs(client, thread_id, run_id, "interrupted");
  const { log } = (await client.threads.getState(thread_id)).values;
  assert.deepEqual([log[0], log.at(-1)], ["a1", "b1"]);

  const other = await begin();
  const last = await then(other.thread_id, "rollback");
  assert.deepEqual((await client.runs.join(other.thread_id, last.run_id)).log, ["b1"]);
  await assert.rejects(client.runs.get(other.thread_id, other.run_id), { status: 404 });
}

// shows: delayed runs
export async function mayStartLater({ client }) {
  const { thread_id } = await client.threads.create();
  const run = await client.runs.create(thread_id, "counter", { input: {}, afterSeconds: 600 });
  assert.equal(run.status, "pending");
  await client.runs.cancel(thread_id, run.run_id);
  await statusIs(client, thread_id, run.run_id, "interrupted");
}

// shows: breakpoints
export async function stopAtBreakpoints({ client }) {
  const { thread_id } = await client.threads.create();
  const before = await client.runs.wait(thread_id, "boom", { input: { log: ["in"] }, interruptBefore: ["second"] });
  assert.deepEqual(before.log, ["in", "first"]);
  assert.deepEqual((await client.threads.get(thread_id)).status, "interrupted");
  const { thread_id: all } = await client.threads.create();
  await client.runs.wait(all, "boom", { input: {}, interruptAfter: "*" });
  assert.deepEqual((await client.threads.getState(all)).next, ["second"]);
}
