import assert from "node:assert/strict";
import { cutting } from "../cutting.mjs";
import { open } from "../page.mjs";
import { statusIs } from "../until.mjs";

const say = (content, more) => ({ messages: [{ type: "human", content }], ...more });
const tokens = (count) => Array.from({ length: count }, (_, i) => `t${i} `).join("");
const grows = (texts) => texts.slice(1).every((text, i) => text.startsWith(texts[i]));

// shows: tokens
export async function showsAnAnswerGrowing({ client, sdk, url }) {
  const heard = {};
  using tab = await open(sdk, {
    apiUrl: url,
    assistantId: "chat",
    onCreated: (run) => (heard.created = run),
    onFinish: (state, run) => Object.assign(heard, { state, run }),
  });
  assert.deepEqual([tab.messages, tab.text("status")], [[], "idle"]);
  const input = say("hello", { n_tokens: 10, delay: 0.03 });
  const sent = tab.stream.submit(input, { streamResumable: true, optimisticValues: { messages: [...input.messages] } });
  await tab.until(() => tab.messages[0] === "human: hello" && tab.text("status") === "busy");
  await sent;
  await tab.settled(2);
  assert.deepEqual(tab.messages, ["human: hello", `ai: ${tokens(10)}`]);
  assert.ok(tab.answers.length >= 5 && grows(tab.answers), `${tab.answers}`);

  assert.deepEqual(heard.created, heard.run);
  assert.equal((await client.runs.get(tab.threadId, heard.run.run_id)).status, "success");
  assert.deepEqual(heard.state, await client.threads.getState(tab.threadId));
  const { streamMetadata } = tab.stream.getMessagesMetadata(tab.stream.messages[1]);
  assert.equal(streamMetadata.langgraph_node, "talk");

  await tab.stream.submit(say("more", { n_tokens: 2, delay: 0 }));
  await tab.settled(4);
  assert.equal(tab.messages[3], `ai: ${tokens(2)}`);
}

// shows: interrupt and resume
export async function asksAndIsAnsweredAlsoAfterAReload({ client, sdk, url }) {
  const options = { apiUrl: url, assistantId: "hitl" };
  const before = await open(sdk, options);
  await before.stream.submit({ n: 7 });
  await before.until(() => before.text("answer") === "approve?" && before.text("status") === "idle");
  const { threadId } = before;
  before.close();

  using tab = await open(sdk, { ...options, threadId });
  assert.equal(tab.text("answer"), "approve?");
  tab.click("answer");
  await tab.until(() => tab.text("status") === "idle" && tab.text("answer") === null && tab.stream.values.log.length === 3);
  assert.deepEqual(tab.stream.values.log, ["propose", { approve: "yes" }, "done"]);
  assert.equal((await client.threads.get(threadId)).status, "idle");
}

// shows: cancel with `interrupt`; cancel on disconnect
export async function stops({ client, sdk, url }) {
  for (const reconnectOnMount of [false, true]) {
    let run;
    const onCreated = (created) => (run = created);
    using tab = await open(sdk, { apiUrl: url, assistantId: "chat", reconnectOnMount, onCreated });
    const sent = tab.stream.submit(say("tell me all", { n_tokens: 10_000, delay: 0.02 }));
    await tab.until(() => tab.answers.length >= 3);
    tab.click("stop");
    await sent;
    await tab.until(() => tab.text("status") === "idle" && tab.text("stop") === null);
    await statusIs(client, run.thread_id, run.run_id, "interrupted");

    await tab.stream.submit(say("again", { n_tokens: 2, delay: 0 }));
    await tab.until(() => tab.text("status") === "idle" && tab.messages.at(-1) === `ai: ${tokens(2)}`);
    assert.ok(tab.messages.includes("human: again"));
  }
}

// shows: fork from a checkpoint; state and history
export async function branchesWhereAMessageIsEdited({ sdk, url }) {
  const options = { apiUrl: url, assistantId: "echo", fetchStateHistory: { limit: 100 } };
  const tab = await open(sdk, options);
  const metadata = (page, at) => page.stream.getMessagesMetadata(page.stream.messages[at], at);
  await tab.stream.submit(say("one"));
  await tab.settled(2);
  await tab.stream.submit(say("two"));
  await tab.settled(4);

  const { parent_checkpoint: checkpoint } = metadata(tab, 2).firstSeenState;
  await tab.stream.submit(say("edited"), { checkpoint });
  await tab.until(() => tab.text("status") === "idle" && metadata(tab, 2)?.branchOptions?.length === 2);
  assert.deepEqual(tab.messages, ["human: one", "ai: 1: one", "human: edited", "ai: 3: edited"]);
  const [old, edited] = metadata(tab, 2).branchOptions;
  assert.equal(metadata(tab, 2).branch, edited);
  tab.stream.setBranch(old);
  await tab.until(() => tab.messages[2] === "human: two");
  assert.deepEqual(tab.messages, ["human: one", "ai: 1: one", "human: two", "ai: 3: two"]);
  const { threadId } = tab;
  tab.close();

  using again = await open(sdk, { ...options, threadId }); // the branches are the server's
  assert.equal(again.messages[2], "human: edited");
  again.stream.setBranch(metadata(again, 2).branchOptions[0]);
  await again.until(() => again.messages[2] === "human: two");
  const { checkpoint: shown } = again.stream.history.at(-1);
  await again.stream.submit(say("three"), { checkpoint: shown });
  await again.settled(6);
  assert.deepEqual(again.messages.slice(2), ["human: two", "ai: 3: two", "human: three", "ai: 5: three"]);

  const { parent_checkpoint: answered } = metadata(again, 5).firstSeenState;
  await again.stream.submit(undefined, { checkpoint: answered }); // regenerate
  await again.until(() => again.text("status") === "idle" && metadata(again, 5)?.branchOptions?.length === 2);
  assert.equal(again.messages[5], "ai: 5: three");
}

// shows: join a run that is under way; a reader that leaves
export async function reloadsInTheMiddle({ client, sdk, url }) {
  const options = { apiUrl: url, assistantId: "chat", reconnectOnMount: true };
  const before = await open(sdk, options);
  before.stream.submit(say("hello", { n_tokens: 40, delay: 0.03 }));
  await before.until(() => before.answers.length >= 4);
  const { threadId } = before;
  before.close();

  using tab = await open(sdk, { ...options, threadId });
  await tab.until(() => tab.text("status") === "busy");
  await tab.settled(2);
  assert.deepEqual(tab.messages, ["human: hello", `ai: ${tokens(40)}`]);
  assert.ok(tab.answers.length >= 4 && grows(tab.answers), `${tab.answers}`);
  assert.equal((await client.runs.list(threadId)).length, 1);
}

// shows: join a run that is under way
export async function joinsARunByItsId({ client, sdk, url }) {
  const { thread_id: threadId } = await client.threads.create();
  const { run_id } = await client.runs.create(threadId, "chat", {
    input: say("hello", { n_tokens: 20, delay: 0.03 }),
    streamMode: ["values", "messages-tuple"],
    streamResumable: true,
  });
  using tab = await open(sdk, { apiUrl: url, assistantId: "chat", threadId });
  using other = await open(sdk, { apiUrl: url, assistantId: "chat", threadId });
  await Promise.all([tab, other].map((each) => each.stream.joinStream(run_id)));
  for (const each of [tab, other]) {
    await each.settled(2);
    assert.deepEqual(each.messages, ["human: hello", `ai: ${tokens(20)}`]);
    assert.ok(each.answers.length >= 3 && grows(each.answers), `${each.answers}`);
  }
}

// shows: a connection that breaks off
export async function outlivesACutConnection({ client, sdk, url }) {
  await using proxy = await cutting(url, 4_000);
  using tab = await open(sdk, { apiUrl: proxy.url, assistantId: "chat", reconnectOnMount: true });
  await tab.stream.submit(say("hello", { n_tokens: 60, delay: 0.01 }));
  await tab.settled(2);
  assert.deepEqual([proxy.cuts, tab.messages], [1, ["human: hello", `ai: ${tokens(60)}`]]);
  assert.ok(grows(tab.answers), `${tab.answers}`);
  assert.equal((await client.runs.list(tab.threadId)).length, 1);
}

// shows: subgraph streams
export async function showsWhatASubgraphDoes({ sdk, url }) {
  const updates = [];
  const onUpdateEvent = (data, { namespace }) => updates.push([namespace?.[0].split(":")[0], ...Object.keys(data)]);
  using tab = await open(sdk, { apiUrl: url, assistantId: "sub", onUpdateEvent });
  await tab.stream.submit(say("hi"), { streamSubgraphs: true, streamResumable: true });
  await tab.settled(3);
  assert.deepEqual(tab.messages, ["human: hi", "human: from the parent", "ai: inner"]);
  assert.deepEqual(updates, [[undefined, "before"], ["child", "inner"], [undefined, "child"]]);
}

// shows: threads
export async function switchesThreads({ sdk, url }) {
  using tab = await open(sdk, { apiUrl: url, assistantId: "echo" });
  await tab.stream.submit(say("first"));
  await tab.settled(2);
  const { threadId: first } = tab;
  tab.show(null);
  await tab.settled(0);
  await tab.stream.submit(say("second"));
  await tab.settled(2);
  const { threadId: second } = tab;
  assert.notEqual(second, first);
  for (const [threadId, content] of [[first, "first"], [second, "second"]]) {
    tab.show(threadId);
    await tab.until(() => tab.threadId === threadId && tab.messages[0] === `human: ${content}`);
    assert.deepEqual(tab.messages, [`human: ${content}`, `ai: 1: ${content}`]);
  }
}

// shows: a reader that leaves
export async function leavesARunBehindAndComesBack({ client, sdk, url }) {
  const options = { apiUrl: url, assistantId: "chat", reconnectOnMount: true };
  using tab = await open(sdk, options);
  tab.stream.submit(say("hello", { n_tokens: 40, delay: 0.03 }));
  await tab.until(() => tab.answers.length >= 3);
  const { threadId } = tab;
  tab.show(null);
  await tab.settled(0);
  const [{ run_id }] = await client.runs.list(threadId);
  assert.equal((await client.runs.get(threadId, run_id)).status, "running"); // leaving is not stopping
  tab.show(threadId);
  await tab.settled(2);
  assert.deepEqual(tab.messages, ["human: hello", `ai: ${tokens(40)}`]);
}

// shows: stream modes
export async function hearsWhatToolsTell({ sdk, url }) {
  const custom = [];
  using tab = await open(sdk, { apiUrl: url, assistantId: "tools", onCustomEvent: (data) => custom.push(data.status) });
  await tab.stream.submit(say("add 2 3"));
  await tab.settled(4);
  assert.deepEqual(tab.messages, ["human: add 2 3", "ai: Let me see. ", "tool: 5", "ai: The result is 5."]);
  assert.deepEqual(custom, ["adding 2 and 3", "added"]);
  const [{ call, result, state }] = tab.stream.toolCalls;
  assert.deepEqual([call.name, call.args, result.content, state], ["add", { a: 2, b: 3 }, "5", "completed"]);
}

// shows: stream modes
export async function hearsEveryKindOfEvent({ sdk, url }) {
  const heard = new Set();
  const names = ["Metadata", "Update", "Custom", "LangChain", "Debug", "Checkpoint", "Task"];
  const listeners = Object.fromEntries(names.map((name) => [`on${name}Event`, () => heard.add(name)]));
  using tab = await open(sdk, { apiUrl: url, assistantId: "tools", ...listeners });
  await tab.stream.submit(say("add 2 3"));
  await tab.settled(4);
  assert.deepEqual(heard, new Set(names));
}

// shows: errors of a graph
export async function tellsOfAFailureAlsoAfterAReload({ sdk, url }) {
  const options = { apiUrl: url, assistantId: "boom" };
  const errors = [];
  const before = await open(sdk, { ...options, onError: (error, run) => errors.push([error.name, error.message, run]) });
  await before.stream.submit({ log: ["hi"] });
  await before.until(() => before.text("status") === "idle" && before.text("error"));
  const { threadId } = before;
  assert.equal(before.text("error"), "boom on purpose");
  assert.deepEqual(errors.map(([name, message, run]) => [name, message, run.thread_id]), [["ValueError", "boom on purpose", threadId]]);
  before.close();

  using tab = await open(sdk, { ...options, threadId });
  assert.match(tab.text("error"), /boom on purpose/);
  assert.deepEqual(tab.stream.values.log, ["hi", "first"]);
}

// shows: multitask: interrupt
export async function letsANewMessageInterrupt({ client, sdk, url }) {
  using tab = await open(sdk, { apiUrl: url, assistantId: "chat" });
  const first = tab.stream.submit(say("long", { n_tokens: 10_000, delay: 0.02 }));
  await tab.until(() => tab.answers.length >= 3);
  await tab.stream.submit(say("short", { n_tokens: 2, delay: 0 }), { multitaskStrategy: "interrupt" });
  await first;
  await tab.until(() => tab.text("status") === "idle" && tab.messages.at(-1) === `ai: ${tokens(2)}`);
  assert.ok(tab.messages.includes("human: long"));
  assert.deepEqual((await client.runs.list(tab.threadId)).map((run) => run.status), ["success", "interrupted"]);
}

// What 2.0 does instead: the new message waits in the page until the run is over.
export async function queuesANewMessage({ client, sdk, url }) {
  using tab = await open(sdk, { apiUrl: url, assistantId: "chat" });
  const first = tab.stream.submit(say("long", { n_tokens: 30, delay: 0.02 }));
  await tab.until(() => tab.answers.length >= 3);
  await tab.stream.submit(say("short", { n_tokens: 2, delay: 0 }), { multitaskStrategy: "interrupt" });
  await first;
  await tab.settled(4);
  assert.deepEqual((await client.runs.list(tab.threadId)).map((run) => run.status), ["success", "success"]);
}
