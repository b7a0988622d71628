// Waiting for states that no endpoint lets one wait for.
import { setTimeout as pause } from "node:timers/promises";

/** Poll until the probe answers something true; returns that. */
export async function until(probe, seconds = 15) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`not true within ${seconds} s: ${probe}`);
    await pause(20);
  }
}

/** Wait until the run of graph `slow` has committed its first step. */
export function progressed(client, threadId) {
  return until(async () => (await client.threads.getState(threadId)).values.done >= 1);
}

/** Wait until the run has this status. */
export function statusIs(client, threadId, runId, wanted) {
  return until(async () => (await client.runs.get(threadId, runId)).status === wanted);
}
