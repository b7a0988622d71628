/** Lines in a 24 by 24 field; the words are beside it, or on the button. */

const PATHS = {
  menu: 'M4 6h16M4 12h16M4 18h16',
  plus: 'M12 5v14M5 12h14',
  send: 'M12 19V5M6 11l6-6 6 6',
  stop: 'M7 7h10v10H7z',
  copy: 'M9 9h10v11H9zM15 9V4H5v11h4',
  check: 'M5 13l4 4L19 7',
  close: 'M6 6l12 12M18 6L6 18',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  down: 'M6 9l6 6 6-6',
  right: 'M9 6l6 6-6 6',
  left: 'M15 6l-6 6 6 6',
  up: 'M6 15l6-6 6 6',
  edit: 'M4 20h4L19 9l-4-4L4 16zM13 7l4 4',
  trash: 'M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13',
  pin: 'M9 4h6l-1 6 3 4H7l3-4zM12 14v6',
  archive: 'M4 5h16v4H4zM6 9v10h12V9M10 13h4',
  search: 'M11 5a6 6 0 100 12 6 6 0 000-12zM20 20l-4.5-4.5',
  retry: 'M5 12a7 7 0 107-7H8M11 2L8 5l3 3',
  branch: 'M7 5v14M7 12h6a4 4 0 004-4V6M17 6h.01M7 5h.01M7 19h.01',
  tool: 'M14 7a4 4 0 105 5l-3-1-1-3zM14 11l-9 9',
  running: 'M12 4a8 8 0 108 8',
  queued: 'M12 7v5l3 2M12 4a8 8 0 100 16 8 8 0 000-16z',
  paused: 'M9 6v12M15 6v12',
  waiting: 'M12 8v5M12 16.5h.01M12 4a8 8 0 100 16 8 8 0 000-16z',
  failed: 'M12 9v4M12 16.5h.01M12 4L3 19h18z',
  settings: 'M12 9a3 3 0 100 6 3 3 0 000-6zM12 3v3M12 18v3M3 12h3M18 12h3M5.6 5.6l2.1 2.1M16.3 16.3l2.1 2.1M18.4 5.6l-2.1 2.1M7.7 16.3l-2.1 2.1',
  image: 'M4 5h16v14H4zM4 16l5-5 5 5 3-3 3 3M15 9h.01',
  clock: 'M12 7v5l3 2M12 4a8 8 0 100 16 8 8 0 000-16z',
  link: 'M10 14a4 4 0 005.7 0l3-3A4 4 0 0013 5.300l-1 1M14 10a4 4 0 00-5.700 0l-3 3A4 4 0 0011 18.700l1-1',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  keyboard: 'M3 7h18v10H3zM7 11h.01M11 11h.01M15 11h.01M8 14h8',
  play: 'M8 5l11 7-11 7z',
} as const

export type IconName = keyof typeof PATHS

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class={`icon icon-${name}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  )
}
