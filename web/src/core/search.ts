/** What the side column's search and the palette find, and how a hit is shown. */

/** Whether each word is somewhere in the text. Case and accents do not matter. */
export function matches(text: string, query: string): boolean {
  const folded = fold(text)
  return fold(query)
    .split(/\s+/)
    .every((word) => folded.includes(word))
}

const fold = (text: string): string => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()

export interface Piece {
  text: string
  /** It is what was looked for. */
  found: boolean
}

/** A snippet of `POST /search`, with `[[` and `]]` round what was found. */
export function pieces(snippet: string): Piece[] {
  return snippet
    .split(/\[\[(.*?)\]\]/s)
    .map((text, place) => ({ text, found: place % 2 === 1 }))
    .filter((one) => one.text)
}

/** Those that match, before others those that begin with what is looked for. */
export function ranked<T>(all: readonly T[], title: (one: T) => string, query: string): T[] {
  const first = fold(query.trim())
  const found = all.filter((one) => matches(title(one), query.trim()))
  const begins = (one: T): number => (first && fold(title(one)).startsWith(first) ? 0 : 1)
  return found.sort((a, b) => begins(a) - begins(b)) // stable: else as they were
}
