/** Pictures that go with a message. */

import type { Block } from './wire.ts'

export interface Picture {
  id: string
  name: string
  mime: string
  base64: string
}

export const KINDS = ['image/png', 'image/jpeg', 'image/webp', 'image/gif']
export const LARGEST = 20e6 // bytes of a file
export const MOST = 8 // to a message
const EDGE = 2000 // pixels: models see no more
const HEAVY = 1.5e6 // bytes

export const fits = (file: { type: string; size: number }): boolean => KINDS.includes(file.type) && file.size <= LARGEST

/** Of a picture that is to be made smaller; null: it is sent as it is. */
export function smaller(width: number, height: number, bytes: number): { width: number; height: number } | null {
  const scale = Math.min(1, EDGE / Math.max(width, height))
  if (scale === 1 && bytes <= HEAVY) return null
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) }
}

export const sourceOf = (one: Picture): string => `data:${one.mime};base64,${one.base64}`

/** Those that were to be sent with this content. */
export function picturesOf(content: string | Block[]): Picture[] {
  const blocks = Array.isArray(content) ? content.filter((one) => one.type === 'image') : []
  return blocks.map((one, place) => ({ id: String(place), name: '', mime: one.mime_type, base64: one.base64 }))
}

/** What is said with them, in LangChain's content blocks. */
export function contentOf(text: string, pictures: readonly Picture[]): string | Block[] {
  if (!pictures.length) return text
  const images = pictures.map((one) => ({ type: 'image', base64: one.base64, mime_type: one.mime }))
  return text ? [{ type: 'text', text }, ...images] : images
}
