/** What the browser keeps so that the next start shows something at once: list, last threads, drafts, unsent messages.
 *
 * Where IndexedDB is not to be had (a private window, a full disk) it is a map of this tab, and `broken` says so.
 */

const STORE = 'kept'
const PATIENCE = 5000 // ms; Safari at times never answers

export class Cache {
  private database: Promise<IDBDatabase> | null
  private readonly memory = new Map<string, unknown>()
  private readonly failed: (error: unknown) => void

  constructor(name: string, failed: (error: unknown) => void = () => {}) {
    this.failed = failed
    this.database = 'indexedDB' in globalThis ? opened(name) : null
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

  async put(key: string, value: unknown): Promise<void> {
    const written = await this.run<unknown>('readwrite', (store) => store.put(value, key), null)
    if (written === null) this.memory.set(key, value)
  }

  async delete(key: string): Promise<void> {
    this.memory.delete(key)
    await this.run<unknown>('readwrite', (store) => store.delete(key), null)
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

function opened(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('The database does not open.')), PATIENCE)
    const request = indexedDB.open(name, 1)
    request.onupgradeneeded = () => request.result.createObjectStore(STORE)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
