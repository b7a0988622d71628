import { render } from 'preact'
import { BASE } from './app/api.ts'
import { begin, Shell } from './app/shell.tsx'
import { start } from './app/start.ts'
import './style.css'

render(<Shell />, document.getElementById('app')!)
begin()
void start()
// Not for `make ui`, which has to show changes, and not without https, where browsers have none.
if (import.meta.env.PROD) void navigator.serviceWorker?.register(new URL('sw.js', BASE)).catch(() => {})
