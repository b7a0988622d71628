/** The server's HTTP API, as a page beside it calls it. */

import { signal } from '@preact/signals'
import { ahead } from '../core/clock.ts'
import { browser } from '../core/keeper.ts'
import { common } from './words.ts'

/** Where the server's paths begin: whatever prefix this page was served under. */
export const BASE = new URL(document.baseURI)
export const TOKEN = 'threadmill.token'

export const token = signal<string | null>(browser.get(TOKEN))
/** The server wants to know who calls. */
export const refused = signal(false)

let skew = 0

/** The time of the server, which all times that it tells are of. */
export const serverNow = (): number => Date.now() + skew

/** Whether the browser keeps it. */
export function logIn(value: string | null): boolean {
  browser.set(TOKEN, value || null)
  token.value = value
  refused.value = false
  return browser.get(TOKEN) === (value || null)
}

export class ApiError extends Error {
  readonly status: number

  constructor(status: number, detail: string) {
    super(detail)
    this.status = status
  }
}

/** The same may be answered soon: there is no connection, or the server, or what is before it, is not itself. */
export const passes = (error: unknown): boolean => !(error instanceof ApiError) || error.status >= 500

export interface Options {
  method?: string
  body?: unknown
  headers?: Record<string, string>
  keepalive?: boolean
  signal?: AbortSignal
}

/** Raises ApiError for what the server refuses, TypeError when it cannot be reached. */
async function ask(path: string, options: Options): Promise<Response> {
  const { body, ...rest } = options
  const headers: Record<string, string> = { ...options.headers }
  if (token.value) headers.authorization = `Bearer ${token.value}`
  if (body !== undefined) headers['content-type'] = 'application/json'
  const answer = await fetch(new URL(path.replace(/^\//, ''), BASE), {
    ...rest,
    method: options.method ?? (body === undefined ? 'GET' : 'POST'),
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  }).catch((error: unknown) => {
    throw error instanceof TypeError ? new TypeError(common('unreachable')) : error // each browser has words of its own
  })
  skew = ahead(answer.headers.get('date'), Date.now())
  if (answer.ok) return answer
  const text = await answer.text()
  if (answer.status === 401 || answer.status === 403) refused.value = answer.status === 401
  throw new ApiError(answer.status, detailOf(text) ?? `${answer.status} ${answer.statusText}`)
}

/** The answer as JSON. */
export async function api<T>(path: string, options: Options = {}): Promise<T> {
  const text = await (await ask(path, options)).text()
  return (text ? JSON.parse(text) : null) as T
}

/** The answer as a file. */
export const file = async (path: string): Promise<Blob> => (await ask(path, {})).blob()

const AT_ONCE = 6 // a browser has no more connections to one server

/** The same for many, some at a time. */
export async function each<T>(list: readonly T[], act: (one: T) => Promise<unknown>): Promise<void> {
  const left = [...list].reverse()
  const work = async (): Promise<void> => {
    for (let one = left.pop(); one !== undefined; one = left.pop()) await act(one)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
}

function detailOf(text: string): string | null {
  try {
    const detail: unknown = JSON.parse(text).detail
    return typeof detail === 'string' ? detail : null
  } catch {
    return text.slice(0, 200) || null
  }
}

/** Random, as version 4. `crypto.randomUUID` is there on https and localhost only. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = [...bytes].map((one) => one.toString(16).padStart(2, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
