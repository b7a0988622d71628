import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

// shows: assistants; assistant versions; context and config
export async function changesInVersions({ client }) {
  const first = await client.assistants.create({
    graphId: "ctx",
    name: "one",
    description: "of the JS client",
    context: { name: "Ada" },
    metadata: { a: 1 },
  });
  assert.equal(first.version, 1);
  const second = await client.assistants.update(first.assistant_id, {
    name: "two",
    context: { name: "Bob" },
    metadata: { b: 2 },
  });
  assert.equal(second.version, 2);
  assert.deepEqual({ a: second.metadata.a, b: second.metadata.b }, { a: 1, b: 2 });
  const versions = await client.assistants.getVersions(first.assistant_id);
  assert.deepEqual(versions.map((each) => [each.version, each.name]), [[2, "two"], [1, "one"]]);
  assert.equal((await client.assistants.getVersions(first.assistant_id, { limit: 1, offset: 1 }))[0].version, 1);

  const back = await client.assistants.setLatest(first.assistant_id, 1);
  assert.deepEqual([back.version, back.name, back.context.name], [1, "one", "Ada"]);
  assert.deepEqual(await client.assistants.get(first.assistant_id), back);
  const output = await client.runs.wait(null, first.assistant_id, { input: { question: "?" } });
  assert.match(output.reply, /^Ada\//);
}

// shows: assistants; search and count; paging headers
export async function areFoundAndCounted({ client }) {
  const metadata = { search: randomUUID() };
  const made = [];
  for (const name of ["Zoe", "Amy", "Mia"]) {
    made.push(await client.assistants.create({ graphId: "echo", name, metadata }));
  }
  assert.equal(await client.assistants.count({ metadata }), 3);
  const named = await client.assistants.search({ metadata, sortBy: "name", sortOrder: "asc" });
  assert.deepEqual(named.map((each) => each.name), ["Amy", "Mia", "Zoe"]);
  const page = await client.assistants.search({ metadata, limit: 2, select: ["name"], includePagination: true });
  assert.deepEqual(page, { assistants: [{ name: "Mia" }, { name: "Amy" }], next: "2" });
  assert.deepEqual(await client.assistants.search({ metadata, graphId: "chat" }), []);

  await client.assistants.delete(made[0].assistant_id);
  assert.equal(await client.assistants.count({ metadata }), 2);
  await assert.rejects(client.assistants.get(made[0].assistant_id), { status: 404 });
}

// shows: idempotent creation
export async function mayExistAlready({ client }) {
  const assistantId = randomUUID();
  const wanted = { assistantId, graphId: "echo", metadata: { first: true } };
  await client.assistants.create(wanted);
  await assert.rejects(client.assistants.create(wanted), { status: 409 });
  const same = await client.assistants.create({ ...wanted, metadata: {}, ifExists: "do_nothing" });
  assert.equal(same.metadata.first, true);
}

// shows: graph drawing, schemas and subgraphs
export async function drawTheirGraph({ client }) {
  const [{ assistant_id: id }] = await client.assistants.search({ graphId: "sub", metadata: { created_by: "system" } });
  const names = ({ nodes }) => nodes.map((node) => node.id);
  assert.deepEqual(names(await client.assistants.getGraph(id)), ["__start__", "before", "child", "__end__"]);
  assert.ok(names(await client.assistants.getGraph(id, { xray: true })).includes("child:inner"));
  const schemas = await client.assistants.getSchemas(id);
  assert.equal(schemas.graph_id, "sub");
  assert.ok("messages" in schemas.input_schema.properties);
  assert.deepEqual(Object.keys(await client.assistants.getSubgraphs(id)), ["child"]);
  assert.deepEqual(Object.keys(await client.assistants.getSubgraphs(id, { namespace: "child", recurse: true })), ["child"]);
}
