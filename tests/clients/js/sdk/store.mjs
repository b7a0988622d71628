import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

// shows: store; store: time to live
export async function keepsItems({ client }) {
  const space = ["js", randomUUID()];
  await client.store.putItem(space, "k", { likes: "tea", text: "grüß 你好" });
  const item = await client.store.getItem(space, "k");
  assert.deepEqual([item.namespace, item.key, item.value], [space, "k", { likes: "tea", text: "grüß 你好" }]);
  assert.ok(Date.parse(item.createdAt) <= Date.parse(item.updatedAt));
  await client.store.putItem(space, "k", { likes: "coffee" }, { ttl: 60, index: false });
  const again = await client.store.getItem(space, "k", { refreshTtl: true });
  assert.deepEqual([again.value, again.createdAt], [{ likes: "coffee" }, item.createdAt]);
  await client.store.deleteItem(space, "k");
  assert.equal(await client.store.getItem(space, "k"), null);
}

// shows: store: filters, paging; store: namespaces
export async function findsItems({ client }) {
  const space = ["js", randomUUID()];
  for (const n of [1, 2, 3]) await client.store.putItem([...space, `of-${n}`], `k${n}`, { n });
  const found = async (options) => (await client.store.searchItems(space, options)).items.map((item) => item.value.n).sort();
  assert.deepEqual(await found(), [1, 2, 3]);
  assert.deepEqual(await found({ filter: { n: 2 } }), [2]);
  assert.deepEqual(await found({ filter: { n: { $gte: 2 } } }), [2, 3]);
  assert.equal((await found({ limit: 1, offset: 1 })).length, 1);

  const { namespaces } = await client.store.listNamespaces({ prefix: space });
  assert.deepEqual(namespaces.map((each) => each.at(-1)).sort(), ["of-1", "of-2", "of-3"]);
  assert.deepEqual((await client.store.listNamespaces({ prefix: space, maxDepth: 2 })).namespaces, [space]);
  assert.deepEqual((await client.store.listNamespaces({ prefix: space, suffix: ["of-2"] })).namespaces, [[...space, "of-2"]]);
}

// shows: store: shared with graphs
export async function isTheOneOfTheGraphs({ client }) {
  const user = randomUUID();
  await client.runs.wait(null, "remember", { input: { user, fact: "likes tea" } });
  assert.deepEqual((await client.store.getItem(["facts", user], "latest")).value, { fact: "likes tea" });
}
