import assert from "node:assert/strict";

const NEVER_SOON = "0 0 29 2 *";

// shows: crons
export async function areKept({ client }) {
  const { thread_id } = await client.threads.create();
  const [{ assistant_id }] = await client.assistants.search({ graphId: "counter", metadata: { created_by: "system" } });
  const cron = await client.crons.create(assistant_id, {
    schedule: NEVER_SOON,
    input: { limit: 1 },
    metadata: { of: thread_id },
  });
  assert.deepEqual([cron.schedule, cron.assistant_id], [NEVER_SOON, assistant_id]);
  assert.ok(Date.parse(cron.next_run_date) > Date.now());
  const ofThread = await client.crons.createForThread(thread_id, "counter", { schedule: NEVER_SOON, input: {} });
  assert.equal(ofThread.thread_id, thread_id);

  const changed = await client.crons.update(cron.cron_id, { enabled: false, schedule: "0 1 29 2 *" });
  assert.deepEqual([changed.enabled, changed.schedule], [false, "0 1 29 2 *"]);
  assert.deepEqual((await client.crons.search({ threadId: thread_id })).map((each) => each.cron_id), [ofThread.cron_id]);
  assert.equal(await client.crons.count({ threadId: thread_id }), 1);
  const mine = await client.crons.search({ assistantId: assistant_id, sortBy: "created_at", sortOrder: "desc", limit: 2 });
  assert.deepEqual(mine.map((each) => each.cron_id), [ofThread.cron_id, cron.cron_id]);

  for (const { cron_id } of mine) await client.crons.delete(cron_id);
  assert.equal(await client.crons.count({ threadId: thread_id }), 0);
  await assert.rejects(client.crons.delete(cron.cron_id), { status: 404 });
  await assert.rejects(client.crons.create(assistant_id, { schedule: "whenever" }), { status: 422 });
}

// shows: crons
export async function keepATimezone({ client }) {
  const options = { schedule: "0 12 1 1 *", timezone: "Asia/Shanghai", endTime: "2099-01-01T00:00:00+00:00" };
  const cron = await client.crons.create("counter", options);
  assert.equal(cron.timezone, "Asia/Shanghai");
  assert.equal(new Date(cron.next_run_date).getUTCHours(), 4);
  assert.equal((await client.crons.update(cron.cron_id, { timezone: "UTC" })).timezone, "UTC");
  await client.crons.delete(cron.cron_id);
}
