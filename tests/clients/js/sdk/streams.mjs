import assert from "node:assert/strict";
import { cutting } from "../cutting.mjs";
import { statusIs } from "../until.mjs";

const say = (content) => ({ messages: [{ role: "human", content }] });

async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

const names = (events) => events.map(({ event }) => event);
const data = (events, name) => events.filter(({ event }) => event === name).map((event) => event.data);

// shows: stream modes; run id from the headers
export async function tellTheValues({ client }) {
  const { thread_id } = await client.threads.create();
  let announced;
  const onRunCreated = (metadata) => (announced = metadata);
  const events = await collect(client.runs.stream(thread_id, "counter", { input: { limit: 2 }, onRunCreated }));
  assert.deepEqual(names(events), ["metadata", "values", "values", "values"]);
  assert.deepEqual(announced, { run_id: events[0].data.run_id, thread_id });
  assert.deepEqual(data(events, "values").map(({ n }) => n), [undefined, 1, 2]);
}

// shows: stream modes
export async function tellTheUpdates({ client }) {
  const events = await collect(client.runs.stream(null, "hitl", { input: { n: 1 }, streamMode: "updates" }));
  const [first, pause] = data(events, "updates");
  assert.deepEqual(first, { propose: { log: ["propose"] } });
  assert.deepEqual(pause.__interrupt__[0].value, { question: "approve?", n: 1 });
}

// shows: stream modes
export async function tellMessagesAsTheyGrow({ client }) {
  const stream = client.runs.stream(null, "chat", { input: say("hi"), streamMode: "messages" });
  const events = await collect(stream);
  const growing = data(events, "messages/partial").map(([message]) => message.content);
  assert.equal(growing.at(-1), "t0 t1 t2 ");
  growing.slice(1).forEach((text, i) => assert.ok(text.startsWith(growing[i]), `${growing[i]} became ${text}`));
  assert.ok(growing.length >= 3);
  assert.equal(Object.values(data(events, "messages/metadata")[0])[0].metadata.langgraph_node, "talk");
}

// shows: stream modes; tokens
export async function tellMessagesInTuples({ client }) {
  const events = await collect(client.runs.stream(null, "chat", { input: say("hi"), streamMode: "messages-tuple" }));
  const tuples = data(events, "messages");
  assert.equal(tuples.map(([chunk]) => chunk.content).join(""), "t0 t1 t2 ");
  assert.deepEqual([...new Set(tuples.map(([chunk]) => chunk.type))], ["AIMessageChunk"]);
  assert.equal(new Set(tuples.map(([chunk]) => chunk.id)).size, 1);
  assert.equal(tuples[0][1].langgraph_node, "talk");
}

// shows: stream modes
export async function tellWhatTheWriterWrote({ client }) {
  const events = await collect(client.runs.stream(null, "counter", { input: { limit: 2 }, streamMode: "custom" }));
  assert.deepEqual(data(events, "custom"), [{ n: 1 }, { n: 2 }]);
}

// shows: stream modes
export async function tellTasksAndCheckpoints({ client }) {
  const { thread_id } = await client.threads.create();
  const streamMode = ["tasks", "checkpoints"];
  const events = await collect(client.runs.stream(thread_id, "counter", { input: { limit: 1 }, streamMode }));
  const [started, ended] = data(events, "tasks");
  assert.deepEqual([started.name, started.id, ended.result], ["count", ended.id, { n: 1 }]);
  const newest = data(events, "checkpoints").at(-1);
  assert.deepEqual([newest.values.n, newest.next], [1, []]);
  const { checkpoint } = await client.threads.getState(thread_id);
  assert.equal(newest.config.configurable.checkpoint_id, checkpoint.checkpoint_id);
}

// shows: stream modes
export async function tellForDebugging({ client }) {
  const events = await collect(client.runs.stream(null, "counter", { input: { limit: 1 }, streamMode: "debug" }));
  const types = data(events, "debug").map(({ type }) => type);
  assert.deepEqual(new Set(types), new Set(["checkpoint", "task", "task_result"]));
}

// shows: stream modes
export async function tellLangChainEvents({ client }) {
  const events = await collect(client.runs.stream(null, "chat", { input: say("hi"), streamMode: "events" }));
  const spoken = data(events, "events").filter(({ event }) => event === "on_chat_model_stream");
  assert.equal(spoken.map((event) => event.data.chunk.content).join(""), "t0 t1 t2 ");
}

// shows: stream modes
export async function tellInManyModesAtOnce({ client }) {
  const streamMode = ["values", "updates", "messages", "messages-tuple", "custom", "tasks", "checkpoints", "debug", "events"];
  const events = await collect(client.runs.stream(null, "tools", { input: say("add 2 3"), streamMode }));
  const seen = new Set(names(events).map((name) => name.split("/")[0]));
  assert.deepEqual(seen, new Set(["metadata", ...streamMode.filter((mode) => mode !== "messages-tuple")]));
  assert.deepEqual(data(events, "custom").map(({ status }) => status), ["adding 2 and 3", "added"]);
  assert.equal(data(events, "values").at(-1).messages.at(-1).content, "The result is 5.");
}

// shows: subgraph streams
export async function nameSubgraphs({ client }) {
  const options = { input: say("hi"), streamMode: ["updates", "messages-tuple", "custom"] };
  const inside = names(await collect(client.runs.stream(null, "sub", { ...options, streamSubgraphs: true })));
  for (const mode of options.streamMode) {
    const name = mode.replace("-tuple", "");
    assert.ok(inside.some((each) => each.match(`^${name}\\|child:[0-9a-f-]{36}$`)), `${name} in ${inside}`);
  }
  const flat = names(await collect(client.runs.stream(null, "sub", options)));
  assert.ok(!flat.some((each) => each.includes("|")), `${flat}`);
}

// shows: errors of a graph
export async function tellOfAFailure({ client }) {
  const { thread_id } = await client.threads.create();
  const events = await collect(client.runs.stream(thread_id, "boom", { input: { log: [] }, streamResumable: true }));
  const failure = { error: "ValueError", message: "boom on purpose" };
  assert.deepEqual(data(events, "error"), [failure]);
  const joined = client.runs.joinStream(thread_id, events[0].data.run_id, { lastEventId: "-1" });
  assert.deepEqual(data(await collect(joined), "error"), [failure]);
}

// shows: a reader that leaves
export async function areReplayedFromAnyEvent({ client }) {
  const { thread_id } = await client.threads.create();
  const streamMode = ["values", "messages-tuple"];
  const input = { ...say("hi"), n_tokens: 10 };
  const live = await collect(client.runs.stream(thread_id, "chat", { input, streamMode, streamResumable: true }));
  const { run_id } = live[0].data;
  assert.ok(live.every(({ id }) => id));
  assert.deepEqual(await collect(client.runs.joinStream(thread_id, run_id, { lastEventId: "-1" })), live);
  for (const at of [0, 5, live.length - 2]) {
    const rest = await collect(client.runs.joinStream(thread_id, run_id, { lastEventId: live[at].id }));
    assert.deepEqual(rest, live.slice(at + 1));
  }
  for (const wanted of ["values", ["values"], ["values", "messages-tuple"]]) {
    const some = await collect(client.runs.joinStream(thread_id, run_id, { lastEventId: "-1", streamMode: wanted }));
    const kept = [wanted].flat().map((mode) => mode.replace("-tuple", ""));
    assert.deepEqual(some, live.filter(({ event }) => kept.includes(event)));
  }
  const threadless = await collect(client.runs.joinStream(null, run_id, { lastEventId: "-1" }));
  assert.deepEqual(threadless, live);
}

// shows: join a run that is under way
export async function areJoinedWhileTheRunGoesOn({ client }) {
  const { thread_id } = await client.threads.create();
  const { run_id } = await client.runs.create(thread_id, "slow", {
    input: { steps: 20 },
    streamMode: ["custom"],
    streamResumable: true,
  });
  const events = await collect(client.runs.joinStream(thread_id, run_id, { lastEventId: "-1" }));
  assert.deepEqual(data(events, "custom").map(({ step }) => step), Array.from({ length: 20 }, (_, i) => i + 1));
}

// shows: a connection that breaks off
export async function surviveACutConnection({ client, url }) {
  const { thread_id } = await client.threads.create();
  await using proxy = await cutting(url, 2_000); // the first answer breaks off after so many bytes
  const through = new client.constructor({ apiUrl: proxy.url, callerOptions: { maxRetries: 0 } });
  const events = await collect(
    through.runs.stream(thread_id, "slow", { input: { steps: 30 }, streamMode: ["custom", "values"], streamResumable: true }),
  );
  assert.equal(proxy.cuts, 1);
  assert.deepEqual(data(events, "custom").map(({ step }) => step), Array.from({ length: 30 }, (_, i) => i + 1));
  assert.equal(data(events, "values").at(-1).done, 30);
}

// shows: cancel on disconnect
export async function cancelTheirRunWhenLeft({ client }) {
  for (const [onDisconnect, status] of [["cancel", "interrupted"], ["continue", "success"]]) {
    const { thread_id } = await client.threads.create();
    const input = { steps: status === "success" ? 20 : 10_000 };
    const leaving = new AbortController();
    let run;
    const stream = client.runs.stream(thread_id, "slow", {
      input,
      onDisconnect,
      streamMode: "custom",
      signal: leaving.signal,
      onRunCreated: ({ run_id }) => (run = run_id),
    });
    const listening = async () => {
      for await (const { event } of stream) if (event === "custom") leaving.abort();
    };
    await listening().catch((error) => assert.equal(error.name, "AbortError")); // or it ends quietly
    await statusIs(client, thread_id, run, status);
  }
}
