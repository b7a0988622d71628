import assert from "node:assert/strict";
import { until } from "../until.mjs";

const say = (content, more) => ({ messages: [{ role: "human", content }], ...more });

async function collect(stream, read = (item) => item) {
  const reading = [];
  for await (const item of stream) reading.push(read(item));
  return Promise.all(reading);
}

/** The same over both transports; the thread is closed at its end. */
async function overBoth(client, assistantId, story) {
  for (const transport of ["sse", "websocket"]) {
    const thread = client.threads.stream({ assistantId, transport });
    try {
      await story(thread);
    } catch (error) {
      throw new Error(`over ${transport}`, { cause: error });
    } finally {
      await thread.close();
    }
  }
}

// shows: event protocol: messages, values, output
export async function tellsTextValuesAndOutput({ client }) {
  await overBoth(client, "tools", async (thread) => {
    await thread.run.start({ input: say("add 2 3") });
    const [messages, values, output] = await Promise.all([
      collect(thread.messages, async (message) => [await message.text, (await message.toolCalls).map(({ args }) => args)]),
      collect(thread.values),
      thread.output,
    ]);
    assert.deepEqual(messages, [["Let me see. ", [{ a: 2, b: 3 }]], ["5", []], ["The result is 5.", []]]);
    assert.deepEqual(values.at(-1), output);
    assert.deepEqual(output.messages.map((message) => message.getType()), ["human", "ai", "tool", "ai"]);
  });
}

// shows: event protocol: messages, values, output
export async function losesNothingOfAFastRun({ client }) {
  for (let turn = 0; turn < 5; turn++) {
    await overBoth(client, "chat", async (thread) => {
      await thread.run.start({ input: say("hi") });
      const parts = await collect(thread.messages, (message) => collect(message.text));
      assert.deepEqual(parts, [["t0 ", "t1 ", "t2 "]]);
    });
  }
}

// shows: event protocol: messages, values, output
export async function keepsMessagesApartThatComeAtTheSameTime({ client }) {
  await overBoth(client, "duet", async (thread) => {
    await thread.run.start({ input: say("sing") });
    const sung = await collect(thread.messages, (message) => message.text);
    assert.deepEqual(sung.sort(), ["do re mi ", "sol la ti "]);
  });
}

// shows: event protocol: tool calls
export async function tellsToolCalls({ client }) {
  for (const [asked, outcome] of [["add 2 3", "5"], ["divide 1 0", /division/]]) {
    await overBoth(client, "tools", async (thread) => {
      await thread.run.start({ input: say(asked) });
      const calls = new Map(); // this SDK gives a call when it begins, and the same one again when it has ended
      for await (const call of thread.toolCalls) calls.set(call.callId, call);
      const [call] = calls.values();
      assert.equal(calls.size, 1);
      assert.deepEqual([call.name, Object.keys(call.input)], [asked.split(" ")[0], ["a", "b"]]);
      if (typeof outcome === "string") assert.equal(await call.output, outcome);
      else await assert.rejects(call.output, outcome);
    });
  }
}

// shows: event protocol: custom events, extensions
export async function tellsNamedReports({ client }) {
  await overBoth(client, "weather", async (thread) => {
    await thread.run.start({ input: {} });
    const { wind, rain } = thread.extensions;
    assert.deepEqual(await collect(wind), [{ knots: 7 }, { knots: 9 }]);
    assert.deepEqual([await wind, await rain], [{ knots: 9 }, { mm: 2 }]);
    const all = await thread.subscribe("custom"); // what was is told to those who come late, too
    const told = [];
    for await (const event of all) if (told.push(event.params.data) === 4) break;
    assert.equal(told.at(-1), "no object");
  });
}

// shows: event protocol: subgraphs
export async function tellsOfSubgraphs({ client }) {
  await overBoth(client, "sub", async (thread) => {
    await thread.run.start({ input: say("hi", { delay: 0.3 }) }); // a handle hears only what comes after it was made
    const found = await collect(thread.subgraphs, async (inner) => {
      const [said, output] = await Promise.all([collect(inner.messages, (message) => message.text), inner.output]);
      return [inner.name, said, output.messages.length];
    });
    assert.deepEqual(found, [["child", ["inner"], 3]]);
  });
}

// shows: event protocol: questions and answers
export async function asksAndIsAnswered({ client }) {
  await overBoth(client, "hitl", async (thread) => {
    await thread.run.start({ input: { n: 3 } });
    assert.deepEqual((await thread.output).log, ["propose"]);
    const [{ interruptId, namespace, payload }] = thread.interrupts;
    assert.deepEqual([thread.interrupted, payload], [true, { question: "approve?", n: 3 }]);
    const answer = { namespace, interrupt_id: interruptId, response: "yes" };
    const values = await thread.subscribe("values");
    await thread.input.respond(answer);
    for await (const { params } of values) if (params.data.log.at(-1) === "done") break;
    const log = async () => (await client.threads.getState(thread.threadId)).values.log; // on disk a moment later
    assert.deepEqual(await until(async () => (await log()).length === 3 && log()), ["propose", { approve: "yes" }, "done"]);
    await assert.rejects(thread.input.respond(answer), { code: "no_such_interrupt" });
  });
}

// shows: event protocol: stopped from elsewhere
export async function isStoppedByAnotherClient({ client, url }) {
  const other = new client.constructor({ apiUrl: url });
  await overBoth(client, "chat", async (thread) => {
    const { run_id } = await thread.run.start({ input: say("talk", { n_tokens: 10_000, delay: 0.01 }) });
    const heard = [];
    for await (const message of thread.messages) {
      for await (const token of message.text) {
        if (heard.push(token) === 3) await other.runs.cancel(thread.threadId, run_id, true);
      }
      assert.equal(await message.text, heard.join(""));
    }
    await thread.output;
    assert.equal(thread.interrupted, false); // nobody is waited for
    assert.equal((await client.runs.get(thread.threadId, run_id)).status, "interrupted");
  });
}

// shows: event protocol: several turns
export async function goesOnTurnAfterTurn({ client }) {
  await overBoth(client, "chat", async (thread) => {
    for (const turn of [1, 2]) {
      await thread.run.start({ input: say(`turn ${turn}`) });
      await until(async () => (await client.threads.getState(thread.threadId)).values.messages?.length === 2 * turn);
    }
    const again = client.threads.stream(thread.threadId, { assistantId: "chat" });
    const values = await again.subscribe("values");
    for await (const { params } of values) if (params.data.messages.length === 4) break;
    await again.close();
  });
}
