/** The server's clock beside the browser's, which may be minutes off. */

const SAME = 2000 // ms: the server tells whole seconds, and its answer takes a while

/** What is to be added to this clock to have the server's, which an answer has told; nothing where they may well agree. */
export function ahead(date: string | null, now: number): number {
  const by = Date.parse(date ?? '') + 500 - now
  return Math.abs(by) > SAME ? by : 0
}
