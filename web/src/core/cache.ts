/** What the browser keeps so that the next start shows something at once: list, last threads, drafts, unsent messages.
 *
 * IndexedDB has a thing only some time after it is given, and a page that is left meanwhile takes it along. What must not be
 * lost so is put down `surely`: in a journal in `localStorage`, which has it at once, until IndexedDB has it, too.
 *
 * Where IndexedDB is not to be had (a private window, a full disk) it is a map of this tab, and `broken` says so.
 */

import { browser, type Keeper } from './keeper.ts'

const STORE = 'kept'
const PATIENCE = 5000 // ms; Safari at times never answers

export class Cache {
  private database: Promise<IDBDatabase> | null
  private readonly memory = new Map<string, unknown>()
  private readonly failed: (error: unknown) => void
  private readonly journal: Journal

  constructor(name: string, failed: (error: unknown) => void = () => {}) {
    this.failed = failed
    this.journal = new Journal(`${name}|`, browser)
    this.database = 'indexedDB' in globalThis ? opened(name).then((database) => this.resumed(database)) : null
    this.database?.catch((error) => this.broken(error))
  }

  async get<T>(key: string): Promise<T | undefined> {
    if (this.memory.has(key)) return this.memory.get(key) as T
    return this.run<T | undefined>('readonly', (store) => store.get(key), undefined)
  }

  /** All whose key begins so. */
  async all<T>(prefix: string): Promise<T[]> {
    const range = typeof IDBKeyRange === 'undefined' ? undefined : IDBKeyRange.bound(prefix, `${prefix}\uffff`)
    const kept = await this.run<T[]>('readonly', (store) => store.getAll(range), [])
    const own = [...this.memory].filter(([key]) => key.startsWith(prefix)).map(([, value]) => value as T)
    return [...kept, ...own]
  }

  async put(key: string, value: unknown, surely = false): Promise<void> {
    if (surely) this.journal.write(key, value)
    const written = await this.run<unknown>('readwrite', (store) => store.put(value, key), null)
    if (written === null) this.memory.set(key, value)
    if (surely) this.journal.done(key)
  }

  async delete(key: string, surely = false): Promise<void> {
    if (surely) this.journal.write(key)
    this.memory.delete(key)
    await this.run<unknown>('readwrite', (store) => store.delete(key), null)
    if (surely) this.journal.done(key)
  }

  /** With what the page before put down surely. */
  private resumed(database: IDBDatabase): IDBDatabase {
    const entries = this.journal.entries()
    if (!entries.length) return database
    const change = database.transaction(STORE, 'readwrite')
    for (const { key, value } of entries) {
      if (value === undefined) change.objectStore(STORE).delete(key)
      else change.objectStore(STORE).put(value, key)
    }
    change.oncomplete = () => entries.forEach(({ key }) => this.journal.done(key))
    return database
  }

  private async run<T>(mode: IDBTransactionMode, ask: (store: IDBObjectStore) => IDBRequest, otherwise: T): Promise<T> {
    if (this.database === null) return otherwise
    try {
      const database = await this.database
      return await new Promise<T>((resolve, reject) => {
        const transaction = database.transaction(STORE, mode)
        const request = ask(transaction.objectStore(STORE))
        transaction.oncomplete = () => resolve(request.result as T)
        transaction.onerror = transaction.onabort = () => reject(transaction.error)
      })
    } catch (error) {
      this.broken(error)
      return otherwise
    }
  }

  private broken(error: unknown): void {
    this.database = null
    this.failed(error)
  }
}

interface Entry {
  key: string
  /** None: it is taken away. */
  value?: unknown
}

class Journal {
  private readonly prefix: string
  private readonly keeper: Keeper

  constructor(prefix: string, keeper: Keeper) {
    this.prefix = prefix
    this.keeper = keeper
  }

  write(key: string, value?: unknown): void {
    this.keeper.set(this.prefix + key, JSON.stringify({ key, value } satisfies Entry))
  }

  done(key: string): void {
    this.keeper.set(this.prefix + key, null)
  }

  entries(): Entry[] {
    return this.keeper.keys(this.prefix).flatMap((name) => this.keeper.read<Entry | []>(name, []))
  }
}

function opened(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('The database does not open.')), PATIENCE)
    const request = indexedDB.open(name, 1)
    request.onupgradeneeded = () => request.result.createObjectStore(STORE)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
