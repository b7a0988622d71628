/** Only what is seen of a long list is in the page. */

import {
  elementScroll,
  observeElementOffset,
  observeElementRect,
  Virtualizer,
  type VirtualItem,
} from '@tanstack/virtual-core'
import type { RefObject } from 'preact'
import { useLayoutEffect, useReducer, useRef } from 'preact/hooks'

export interface Window {
  items: VirtualItem[]
  height: number
  to: (index: number, align?: 'start' | 'end' | 'auto') => void
  /** Where it begins, as far as is known: rows that were not seen have the height they are thought to have. */
  start: (index: number) => number
  /** The first that is seen. */
  first: () => VirtualItem | undefined
  /** A row that measures itself, as a ref. */
  measure: (element: Element | null) => void
}

export interface WindowOptions {
  key?: (index: number) => string
  overscan?: number
  gap?: number
  padding?: number
  /** It has scrolled by itself, as what is above turned out to be of another height. */
  moved?: () => void
}

export function useWindow(
  box: RefObject<HTMLElement | null>,
  count: number,
  size: (index: number) => number,
  { key = String, overscan = 8, gap = 0, padding = 0, moved = () => {} }: WindowOptions = {},
): Window {
  const [, again] = useReducer<number, void>((n) => n + 1, 0)
  const held = useRef<Virtualizer<HTMLElement, Element> | null>(null)
  const options = {
    count,
    getScrollElement: () => box.current,
    estimateSize: size,
    getItemKey: key,
    overscan,
    gap,
    paddingStart: padding,
    paddingEnd: padding,
    scrollToFn: (offset: number, how: Parameters<typeof elementScroll>[1], self: Virtualizer<HTMLElement, Element>) => {
      elementScroll(offset, how, self)
      moved()
    },
    observeElementRect,
    observeElementOffset,
    onChange: () => again(),
  }
  held.current ??= new Virtualizer<HTMLElement, Element>(options)
  const all = held.current
  all.setOptions(options)
  useLayoutEffect(() => all._didMount(), [])
  useLayoutEffect(() => all._willUpdate())
  return {
    items: all.getVirtualItems(),
    height: all.getTotalSize(),
    to: (index, align = 'auto') => all.scrollToIndex(index, { align }),
    start: (index) => all.measurementsCache[index]?.start ?? 0,
    first: () => all.getVirtualItems().find((one) => one.end > (box.current?.scrollTop ?? 0)),
    measure: all.measureElement,
  }
}
