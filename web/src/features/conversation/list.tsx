/** Turns one below the other, of which only those that are seen are in the page. */

import type { RefObject } from 'preact'
import type { Said } from '../../core/turns.ts'
import { useWindow, type Window } from '../../ui/window.ts'
import { Turn } from './turn.tsx'

const FEW = 60 // are all in the page: one can search it

export function useTurns(box: RefObject<HTMLElement | null>, list: Said[], moved?: () => void): Window {
  return useWindow(box, list.length, (index) => guess(list[index]?.text.length ?? 0), {
    key: (index) => list[index]?.key ?? String(index),
    overscan: list.length <= FEW ? FEW : 3,
    gap: 20,
    padding: 24,
    moved,
  })
}

const guess = (length: number): number => 56 + Math.ceil(length / 80) * 24

/** Of no thread (null) they can only be read. */
export function Turns({ thread, list, view, busy }: { thread: string | null; list: Said[]; view: Window; busy: boolean }) {
  return (
    <div class="log-inner" style={{ height: `${view.height}px` }}>
      {view.items.map(({ index, start, key }) => (
        <div class="log-row" key={key} data-index={index} ref={view.measure} style={{ transform: `translateY(${start}px)` }}>
          <Turn thread={thread} said={list[index]!} last={index === list.length - 1} busy={busy} />
        </div>
      ))}
    </div>
  )
}
