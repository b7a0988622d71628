/** The tab's end of the one connection: through the SharedWorker, or where there is none a socket of its own. */

import { socketAt } from './events.ts'
import { Hub, type LinkState, type Told } from './hub.ts'
import type { Json } from './wire.ts'
import type { Said } from './worker.ts'

export interface Listener {
  frame(frame: Json): void
  gone(): void
}

export class Link {
  private readonly listeners = new Map<string, Listener>()
  private readonly say: (said: Said) => void
  private readonly tab: string
  private readonly url: string
  private count = 0

  constructor(url: string, tab: string, worker: (() => SharedWorker) | null, moved: (state: LinkState) => void) {
    this.url = url
    this.tab = tab
    const hear = (told: Told): void => {
      if (told.type === 'state') moved(told.state)
      else if (told.type === 'frame') this.listeners.get(told.watch)?.frame(told.frame)
      else {
        const listener = this.listeners.get(told.watch)
        this.listeners.delete(told.watch)
        listener?.gone()
      }
    }
    this.say = (worker && shared(worker, url, tab, hear)) ?? alone(url, hear)
  }

  start(token: string | null): void {
    this.say({ type: 'start', url: this.url, token, lock: this.tab })
  }

  /** Returns what ends it. */
  watch(thread: string | undefined, since: number, listener: Listener): () => void {
    const id = `${this.tab}:${++this.count}`
    this.listeners.set(id, listener)
    this.say({ type: 'watch', id, since, ...(thread && { thread }) })
    return () => {
      if (this.listeners.delete(id)) this.say({ type: 'unwatch', id })
    }
  }

  wake(): void {
    this.say({ type: 'wake' })
  }
}

function shared(worker: () => SharedWorker, url: string, tab: string, hear: (told: Told) => void): ((said: Said) => void) | null {
  // Without locks, as on a page without https, the worker could not know that a tab is gone.
  if (!('SharedWorker' in globalThis) || navigator.locks === undefined) return null
  let port: MessagePort
  try {
    port = worker().port
  } catch {
    return null
  }
  port.onmessage = (event) => hear(event.data as Told)
  let early: Said[] | null = []
  let say = (said: Said): void => port.postMessage(said)
  const begin = (): void => {
    early?.forEach(say)
    early = null
  }
  const held = (): Promise<never> => {
    begin()
    return new Promise(() => {})
  }
  // Held until the tab is gone, however it goes; the worker waits for it, so it must be ours first. Who blocks cookies
  // has no locks either.
  navigator.locks.request(tab, held).catch(() => {
    port.close()
    say = alone(url, hear)
    begin()
  })
  return (said) => (early ? early.push(said) : say(said))
}

function alone(url: string, hear: (told: Told) => void): (said: Said) => void {
  const hub = new Hub(socketAt(url), hear)
  return (said) => {
    if (said.type === 'start') hub.start(said.token)
    else if (said.type === 'watch') hub.watch(said)
    else if (said.type === 'unwatch') hub.unwatch(said.id)
    else hub.wake()
  }
}
