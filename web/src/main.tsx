import { render } from 'preact'
import { BASE } from './app/api.ts'
import { shareToken } from './app/route.ts'
import { begin, Shell } from './app/shell.tsx'
import { start } from './app/start.ts'
import './style.css'

const root = document.getElementById('app')!
const token = shareToken()
if (token === null) {
  render(<Shell />, root)
  begin()
  void start()
  // Not for `make ui`, which has to show changes, and not without https, where browsers have none.
  if (import.meta.env.PROD) void navigator.serviceWorker?.register(new URL('sw.js', BASE)).catch(() => {})
} else {
  // Whoever has a link may know nothing else of this server: no list, no socket, nothing that writes.
  void import('./features/conversation/shared.tsx').then(({ Shared }) => render(<Shared token={token} />, root))
}
