/** Keys by name: `mod+shift+o`. Plain characters are no command while one types. */

const MAC = /Mac|iP(hone|ad)/.test(globalThis.navigator?.platform ?? '')

export function pressed(event: KeyboardEvent, keys: string): boolean {
  if (event.isComposing) return false
  const parts = keys.toLowerCase().split('+')
  const key = parts.at(-1)!
  const mod = MAC ? event.metaKey : event.ctrlKey
  if (event.key.toLowerCase() !== key || mod !== parts.includes('mod') || event.altKey !== parts.includes('alt')) return false
  // Which of `?` and `/` need Shift is the keyboard's business.
  if (/[a-z]|.{2,}/.test(key) && event.shiftKey !== parts.includes('shift')) return false
  return mod || event.altKey || key.length > 1 || !typing(event.target)
}

function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
}

export function keysShown(keys: string): string {
  const names: Record<string, string> = {
    mod: MAC ? '⌘' : 'Ctrl',
    shift: MAC ? '⇧' : 'Shift',
    alt: MAC ? '⌥' : 'Alt',
    escape: 'Esc',
    pageup: 'Page Up',
    pagedown: 'Page Down',
  }
  return keys
    .split('+')
    .map((one) => names[one] ?? one.toUpperCase())
    .join(MAC ? '' : '+')
}
