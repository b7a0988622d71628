/** The small storages of a browser: `localStorage`, and `sessionStorage`, which is the tab's own. Where it lets a page have
 * none (cookies are blocked, no room) nothing is kept, and the page goes on without. */

export interface Keeper {
  get(key: string): string | null
  /** Null takes it away. */
  set(key: string, value: string | null): void
  /** What was put down as JSON; `otherwise` where that cannot be read. */
  read<T>(key: string, otherwise: T): T
  /** All that begin so. */
  keys(prefix: string): string[]
}

/** Merely to ask for a storage can raise, so it is asked for each time. */
export function keeper(storage: () => Storage): Keeper {
  const attempt = <T>(what: () => T, otherwise: T): T => {
    try {
      return what()
    } catch {
      return otherwise
    }
  }
  return {
    get: (key) => attempt(() => storage().getItem(key), null),
    set: (key, value) => attempt(() => (value === null ? storage().removeItem(key) : storage().setItem(key, value)), undefined),
    read: (key, otherwise) => attempt(() => JSON.parse(storage().getItem(key) ?? 'null') ?? otherwise, otherwise),
    keys: (prefix) => attempt(() => Object.keys(storage()).filter((key) => key.startsWith(prefix)), []),
  }
}

export const browser = keeper(() => localStorage)
export const tab = keeper(() => sessionStorage)
