/** Where one was in each conversation that one has left in its middle; those left at their end follow it. */

const KEY = 'threadmill.places'
const kept = new Map<string, number>(JSON.parse(sessionStorage.getItem(KEY) ?? '[]'))

let storing = 0

function store(): void {
  clearTimeout(storing)
  storing = window.setTimeout(() => sessionStorage.setItem(KEY, JSON.stringify([...kept].slice(-50))), 150)
}

export const places = {
  get: (id: string): number | undefined => kept.get(id),
  set(id: string, at: number): void {
    kept.set(id, at)
    store()
  },
  delete(id: string): void {
    if (kept.delete(id)) store()
  },
}
