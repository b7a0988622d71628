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

const PATIENCE = 30_000 // ms; where packets vanish, a browser itself waits for minutes
const FILE = 600_000 // ms; one may be large
const SLOW = 16 // characters a ms, over a bad network

/** `read` of the answer. Raises ApiError for what the server refuses, TypeError when it cannot be reached. */
async function ask<T>(path: string, options: Options, read: (answer: Response) => Promise<T>, patience = PATIENCE): Promise<T> {
  const { body, signal: stop, ...rest } = options
  const headers: Record<string, string> = { ...options.headers }
  if (token.value) headers.authorization = `Bearer ${token.value}`
  if (body !== undefined) headers['content-type'] = 'application/json'
  const given = body === undefined ? {} : { body: JSON.stringify(body) }
  const method = options.method ?? (body === undefined ? 'GET' : 'POST')
  const late = new AbortController()
  const give = () => late.abort(stop?.reason)
  const timer = setTimeout(() => late.abort(new TypeError()), patience + (given.body?.length ?? 0) / SLOW)
  stop?.addEventListener('abort', give)
  try {
    const answer = await fetch(new URL(path.replace(/^\//, ''), BASE), { ...rest, method, headers, ...given, signal: late.signal })
    skew = ahead(answer.headers.get('date'), Date.now())
    if (!answer.ok) throw refusal(answer, await answer.text())
    return await read(answer)
  } catch (error) {
    throw error instanceof TypeError ? new TypeError(common('unreachable')) : error // each browser has words of its own
  } finally {
    clearTimeout(timer)
    stop?.removeEventListener('abort', give)
  }
}

function refusal({ status, statusText }: Response, text: string): ApiError {
  if (status === 401 || status === 403) refused.value = status === 401
  return new ApiError(status, detailOf(text) ?? `${status} ${statusText}`)
}

/** The answer as JSON. */
export async function api<T>(path: string, options: Options = {}): Promise<T> {
  const text = await ask(path, options, (answer) => answer.text())
  return (text ? JSON.parse(text) : null) as T
}

/** The answer as a file. */
export const file = (path: string): Promise<Blob> => ask(path, {}, (answer) => answer.blob(), FILE)

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
