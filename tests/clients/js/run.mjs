// Runs the checks named on standard input, one per line, and answers each with one line of JSON.
// usage: node run.mjs FOLDER PACKAGE URL
import { createInterface } from "node:readline";
import { inspect } from "node:util";

const [folder, sdk, url] = process.argv.slice(2);
const LIMIT_MS = 30_000;
const { Client } = await import(sdk);

console.log = console.info = console.debug = console.error; // standard output is for answers

async function run(check) {
  const [file, scenario] = check.split(".");
  const { [scenario]: body } = await import(`./${folder}/${file}.mjs`);
  const client = new Client({ apiUrl: url, callerOptions: { maxRetries: 0 } }); // a 500 is to be seen, not repeated
  const late = Promise.withResolvers();
  const timer = setTimeout(() => late.reject(new Error(`not done in ${LIMIT_MS / 1000} s`)), LIMIT_MS);
  try {
    return await Promise.race([body({ client, sdk, url }), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

let broken = null; // what nobody awaits must fail the check during which it happened
process.on("unhandledRejection", (reason) => (broken ??= reason));
process.on("uncaughtException", (reason) => (broken ??= reason));

for await (const check of createInterface({ input: process.stdin })) {
  broken = null;
  let found = null;
  let error = await run(check).then((all) => void (found = all ?? null), (reason) => reason ?? new Error("rejected with nothing"));
  error ??= broken;
  const answer = error ? { check, ok: false, error: inspect(error, { depth: 6 }) } : { check, ok: true, found };
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
