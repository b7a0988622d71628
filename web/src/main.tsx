import { render } from 'preact'
import { begin, Shell } from './app/shell.tsx'
import { start } from './app/state.ts'
import './style.css'

render(<Shell />, document.getElementById('app')!)
begin()
void start()
