import assert from "node:assert/strict";

// shows: interrupt and resume
export async function areAskedAndAnswer({ client }) {
  const { thread_id } = await client.threads.create();
  const asked = await client.runs.wait(thread_id, "hitl", { input: { n: 7 } });
  const [question] = asked.__interrupt__;
  assert.deepEqual(question.value, { question: "approve?", n: 7 });
  const { status, interrupts } = await client.threads.get(thread_id);
  assert.deepEqual([status, Object.values(interrupts)[0][0].id], ["interrupted", question.id]);
  const { next, tasks } = await client.threads.getState(thread_id);
  assert.deepEqual([next, tasks[0].interrupts[0].id], [["approve"], question.id]);

  const output = await client.runs.wait(thread_id, "hitl", { command: { resume: "yes" } });
  assert.deepEqual(output.log, ["propose", { approve: "yes" }, "done"]);
  assert.equal((await client.threads.get(thread_id)).status, "idle");
}

// shows: interrupt and resume
export async function answerWithFalsyValues({ client }) {
  for (const resume of [false, 0, ""]) {
    const { thread_id } = await client.threads.create();
    await client.runs.wait(thread_id, "hitl", { input: {} });
    const { log } = await client.runs.wait(thread_id, "hitl", { command: { resume } });
    assert.deepEqual(log, ["propose", { approve: resume }, "done"]);
  }
}

// shows: several questions, answered by id
export async function answerOneOfSeveral({ client }) {
  const { thread_id } = await client.threads.create();
  const { __interrupt__: asked } = await client.runs.wait(thread_id, "parallel_hitl", { input: {} });
  const id = (value) => asked.find((each) => each.value === value).id;
  const rest = await client.runs.wait(thread_id, "parallel_hitl", { command: { resume: { [id("left?")]: "l" } } });
  assert.deepEqual(rest.__interrupt__.map((each) => each.id), [id("right?")]);
  const { log } = await client.runs.wait(thread_id, "parallel_hitl", { command: { resume: { [id("right?")]: "r" } } });
  assert.deepEqual(log, [["left", "l"], ["right", "r"], "done"]);
}

// shows: commands: goto, update
export async function commandUpdatesAndJumps({ client }) {
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "hitl", { input: {} });
  const command = { update: { log: ["by command"] }, goto: "done" };
  const { log } = await client.runs.wait(thread_id, "hitl", { command });
  assert.deepEqual(log, ["propose", "by command", "done"]);
}
