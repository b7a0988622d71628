/** Where a conversation stands in the list: pinned, today, yesterday, 7 days, 30 days, else its month. */

export type Place = 'pinned' | 'today' | 'yesterday' | 'week' | 'month' | `${number}-${string}`

const DAY = 86_400_000

export function placeOf(when: string, now: Date): Place {
  const then = new Date(when)
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime()
  const at = then.getTime()
  if (at >= today) return 'today'
  if (at >= today - DAY) return 'yesterday'
  if (at >= today - 7 * DAY) return 'week'
  if (at >= today - 30 * DAY) return 'month'
  return `${then.getFullYear()}-${String(then.getMonth() + 1).padStart(2, '0')}`
}
