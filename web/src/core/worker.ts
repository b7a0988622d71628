/** The SharedWorker: one hub for all tabs. A tab that goes lets its lock go, however it went. */

import { socketAt } from './events.ts'
import { Hub, type Told } from './hub.ts'

export type Said =
  | { type: 'start'; url: string; token: string | null; lock: string }
  | { type: 'watch'; id: string; thread?: string; since: number }
  | { type: 'unwatch'; id: string }
  | { type: 'wake' }

const scope = globalThis as unknown as { onconnect: (event: MessageEvent) => void }
const tabs = new Map<MessagePort, Set<string>>()
const owners = new Map<string, MessagePort>()
let hub: Hub | null = null

function tell(told: Told): void {
  if (told.type === 'state') for (const port of tabs.keys()) port.postMessage(told)
  else owners.get(told.watch)?.postMessage(told)
}

function forget(port: MessagePort): void {
  for (const id of tabs.get(port) ?? []) {
    hub?.unwatch(id)
    owners.delete(id)
  }
  tabs.delete(port)
}

function hear(port: MessagePort, said: Said): void {
  if (said.type === 'start') {
    hub ??= new Hub(socketAt(said.url), tell) // of all tabs of one worker it is the same
    hub.start(said.token)
    port.postMessage({ type: 'state', state: hub.current } satisfies Told)
    void navigator.locks.request(said.lock, () => forget(port))
  } else if (said.type === 'watch') {
    tabs.get(port)?.add(said.id)
    owners.set(said.id, port)
    hub?.watch(said)
  } else if (said.type === 'unwatch') {
    tabs.get(port)?.delete(said.id)
    owners.delete(said.id)
    hub?.unwatch(said.id)
  } else {
    hub?.wake()
  }
}

scope.onconnect = (event) => {
  const port = event.ports[0]!
  tabs.set(port, new Set())
  port.onmessage = (message) => hear(port, message.data as Said)
}
