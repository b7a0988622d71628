/** Threads that are open, in the order of their tabs: by id. */

type Tabs = readonly string[]

/** Behind `from`, or in its place; one that is open already stays where it is. */
export function opened(tabs: Tabs, id: string, from: string | null, instead: boolean): Tabs {
  const place = tabs.indexOf(from ?? '')
  const left = instead && from !== id ? tabs.filter((one) => one !== from) : tabs
  if (left.includes(id)) return left
  return left.toSpliced(place < 0 ? left.length : instead ? place : place + 1, 0, id)
}

/** Who is shown when this one is closed: the one behind it, else the one before. */
export function beside(tabs: Tabs, id: string): string | undefined {
  const place = tabs.indexOf(id)
  return tabs[place + 1] ?? tabs[place - 1]
}

/** To where the other one is. */
export function moved(tabs: Tabs, id: string, to: string): Tabs {
  const place = tabs.indexOf(to)
  return tabs.filter((one) => one !== id).toSpliced(place, 0, id)
}
