import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

// shows: errors as the SDK's own
export async function nameWhatIsMissing({ client }) {
  const nobody = randomUUID();
  for (const asking of [
    () => client.threads.get(nobody),
    () => client.threads.getState(nobody),
    () => client.threads.getHistory(nobody),
    () => client.threads.update(nobody, { metadata: {} }),
    () => client.threads.delete(nobody),
    () => client.runs.list(nobody),
    () => client.runs.get(nobody, nobody),
    () => client.runs.create(nobody, "echo", { input: {} }),
    () => client.runs.wait(nobody, "echo", { input: {} }),
    () => client.runs.stream(nobody, "echo", { input: {} }).next(),
    () => client.assistants.get(nobody),
    () => client.assistants.getVersions(nobody),
    () => client.assistants.setLatest(nobody, 1),
  ]) {
    await assert.rejects(asking(), (error) => {
      assert.equal(error.status, 404, error.message);
      assert.match(error.message, /^HTTP 404: \{"detail":".+"\}$/);
      return true;
    });
  }
}

// shows: errors as the SDK's own
export async function tellWhatIsWrong({ client }) {
  for (const asking of [
    () => client.threads.get("not-a-uuid"),
    () => client.threads.search({ limit: -1 }),
    () => client.threads.search({ sortBy: "nonsense" }),
    () => client.runs.wait(null, "no_such_graph", { input: {} }),
    () => client.runs.stream(null, "echo", { input: {}, streamMode: "nonsense" }).next(),
    () => client.runs.createBatch([]),
  ]) {
    await assert.rejects(asking(), (error) => {
      assert.equal(error.status, 422, error.message);
      assert.match(error.message, /"detail":".+"/);
      return true;
    });
  }
}

// shows: errors of a graph
export async function ofAGraphRejectTheWait({ client }) {
  const { thread_id } = await client.threads.create();
  await assert.rejects(client.runs.wait(thread_id, "boom", { input: {} }), /ValueError: boom on purpose/);
  const values = await client.runs.wait(thread_id, "boom", { input: null, raiseError: false });
  assert.deepEqual(values.__error__, { error: "ValueError", message: "boom on purpose" });
  const { status, error } = await client.threads.get(thread_id);
  assert.deepEqual([status, error], ["error", { error: "ValueError", message: "boom on purpose" }]);
  assert.equal((await client.runs.list(thread_id, { status: "error" })).length, 2);
}
