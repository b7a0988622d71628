import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { until } from "../until.mjs";

// shows: threads; idempotent creation; time to live, prune
export async function areKept({ client }) {
  const threadId = randomUUID();
  const made = await client.threads.create({ threadId, metadata: { a: 1 }, ttl: 60 });
  assert.deepEqual([made.thread_id, made.status, made.metadata], [threadId, "idle", { a: 1 }]);
  await assert.rejects(client.threads.create({ threadId }), { status: 409 });
  assert.equal((await client.threads.create({ threadId, ifExists: "do_nothing" })).created_at, made.created_at);

  await client.threads.update(threadId, { metadata: { b: 2 }, ttl: 120 });
  const read = await client.threads.get(threadId, { include: ["ttl"] });
  assert.deepEqual(read.metadata, { a: 1, b: 2 });
  assert.equal(read.ttl?.ttl_minutes ?? 120, 120); // the oldest client cannot ask for it

  await client.threads.delete(threadId);
  await assert.rejects(client.threads.get(threadId), { status: 404 });
}

// shows: search and count; select and extract
export async function areFoundAndCounted({ client }) {
  const metadata = { search: randomUUID() };
  const [idle, asking] = [await client.threads.create({ metadata }), await client.threads.create({ metadata })];
  await client.runs.wait(idle.thread_id, "counter", { input: { limit: 2 } });
  await client.runs.wait(asking.thread_id, "hitl", { input: { n: 7 } });
  const found = async (query) => (await client.threads.search({ metadata, ...query })).map((each) => each.thread_id);

  assert.deepEqual(await found(), [asking.thread_id, idle.thread_id]);
  assert.deepEqual(await found({ sortBy: "created_at", sortOrder: "asc" }), [idle.thread_id, asking.thread_id]);
  assert.deepEqual(await found({ limit: 1, offset: 1 }), [idle.thread_id]);
  assert.deepEqual(await found({ status: "interrupted" }), [asking.thread_id]);
  assert.deepEqual(await found({ ids: [idle.thread_id] }), [idle.thread_id]);
  assert.equal(await client.threads.count({ metadata }), 2);
  assert.equal(await client.threads.count({ metadata, status: "interrupted" }), 1);
  const [row] = await client.threads.search({ metadata, status: "interrupted", select: ["thread_id", "interrupts"] });
  assert.deepEqual(Object.keys(row).sort(), ["interrupts", "thread_id"]);
  assert.deepEqual(Object.values(row.interrupts)[0][0].value, { question: "approve?", n: 7 });
}

// shows: select and extract
export async function areFoundByValue({ client }) {
  const metadata = { search: randomUUID() };
  for (const limit of [1, 2]) {
    const { thread_id } = await client.threads.create({ metadata });
    await client.runs.wait(thread_id, "counter", { input: { limit } });
  }
  await client.threads.create({ metadata }); // one without any value
  const found = await client.threads.search({ metadata, values: { n: 2 }, extract: { count: "values.n" } });
  assert.deepEqual(found.map((each) => each.extracted), [{ count: 2 }]);
  assert.equal(await client.threads.count({ metadata, values: { n: 2 } }), 1);
}

// shows: copy a thread
export async function areCopiedWithTheirHistory({ client }) {
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "echo", { input: { messages: [{ role: "human", content: "hi" }] } });
  const copy = await client.threads.copy(thread_id);
  assert.notEqual(copy.thread_id, thread_id);
  const ids = async (id) => (await client.threads.getHistory(id)).map((each) => each.checkpoint.checkpoint_id);
  assert.deepEqual(await ids(copy.thread_id), await ids(thread_id));

  await client.runs.wait(copy.thread_id, "echo", { input: { messages: [{ role: "human", content: "more" }] } });
  assert.equal((await client.threads.getState(thread_id)).values.messages.length, 2);
  assert.equal((await client.threads.getState(copy.thread_id)).values.messages.length, 4);
}

// shows: a thread born with state
export async function beginWithSupersteps({ client }) {
  const { thread_id } = await client.threads.create({
    graphId: "counter",
    supersteps: [
      { updates: [{ values: { n: 0, limit: 5 }, asNode: "__start__" }] },
      { updates: [{ values: { n: 4 }, asNode: "count" }] },
    ],
  });
  assert.equal((await client.threads.getState(thread_id)).values.n, 4);
  assert.equal((await client.runs.wait(thread_id, "counter", { input: null })).n, 5);
}

// shows: time to live, prune
export async function arePruned({ client }) {
  const { thread_id: gone } = await client.threads.create();
  const { thread_id: kept } = await client.threads.create();
  await client.runs.wait(kept, "counter", { input: { limit: 3 } });
  assert.deepEqual(await client.threads.prune([gone]), { pruned_count: 1 });
  await assert.rejects(client.threads.get(gone), { status: 404 });
  await client.threads.prune([kept], { strategy: "keep_latest" });
  assert.equal((await client.threads.getHistory(kept)).length, 1);
  assert.equal((await client.threads.getState(kept)).values.n, 3);
}

// shows: the stream of a thread
export async function streamOverTheirRuns({ client }) {
  const { thread_id } = await client.threads.create();
  const seen = [];
  const listening = (async () => {
    for await (const event of client.threads.joinStream(thread_id, { lastEventId: "-" })) {
      seen.push(event);
      if (seen.filter(isDone).length === 2) break;
    }
  })();
  const runs = [];
  for (const limit of [1, 2]) {
    const run = await client.runs.create(thread_id, "counter", { input: { n: 0, limit }, streamResumable: true });
    await client.runs.join(thread_id, run.run_id);
    runs.push(run.run_id);
  }
  await listening;
  assert.deepEqual(seen.filter(isDone).map((event) => event.data.run_id), runs);
  assert.ok(seen.every((event) => event.id), "every event of a thread has an id");
  assert.equal(new Set(seen.map((event) => event.id)).size, seen.length);

  const [, second] = runs;
  const again = seen.findIndex((event) => event.data?.run_id === second);
  const replayed = [];
  for await (const event of client.threads.joinStream(thread_id, { lastEventId: seen[again - 1].id })) {
    replayed.push(event);
    if (isDone(event)) break;
  }
  assert.deepEqual(replayed, seen.slice(again));

  for await (const event of client.threads.joinStream(thread_id, { lastEventId: "-", streamMode: ["lifecycle"] })) {
    assert.equal(event.event, "metadata");
    if (isDone(event) && event.data.run_id === second) break;
  }
}

const isDone = ({ event, data }) => event === "metadata" && data.status === "run_done";

// shows: threads
export async function comeToRestWithTheirRuns({ client }) {
  const { thread_id } = await client.threads.create();
  const run = await client.runs.create(thread_id, "slow", { input: { steps: 1000 } });
  assert.equal((await client.threads.get(thread_id)).status, "busy");
  await client.runs.cancel(thread_id, run.run_id, true);
  await until(async () => (await client.threads.get(thread_id)).status === "interrupted");
}
