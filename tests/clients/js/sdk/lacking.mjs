// What a line of the SDK has no method or option for; and all methods that it has.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

export async function methods({ client }) {
  const parts = Object.entries(client).filter(([name, part]) => typeof part === "object" && !name.startsWith("~"));
  return parts.flatMap(([name, part]) =>
    Object.getOwnPropertyNames(Object.getPrototypeOf(part))
      .filter((method) => method !== "constructor")
      .map((method) => `${name}.${method}`),
  );
}

export async function pruning({ client }) {
  assert.equal(client.threads.prune, undefined);
}

export async function cancellingMany({ client }) {
  assert.equal(client.runs.cancelMany, undefined);
}

export async function theEventProtocol({ client }) {
  assert.equal(client.threads.stream, undefined);
}

export async function extracting({ client }) {
  const metadata = { search: randomUUID() };
  await client.threads.create({ metadata });
  const [found] = await client.threads.search({ metadata, extract: { status: "values.n" } });
  assert.equal("extracted" in found, false); // it does not send `extract`
}

export async function timezones({ client }) {
  const cron = await client.crons.create("counter", { schedule: "0 12 1 1 *", timezone: "Asia/Shanghai" });
  await client.crons.delete(cron.cron_id);
  assert.equal(cron.timezone, null); // it does not send `timezone`
}
