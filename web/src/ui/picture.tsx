/** A picture in a message, and the larger view of it. Of other sites nothing is fetched: their pictures are links. */

import { BASE } from '../app/api.ts'
import { common } from '../app/words.ts'

/** Whether it comes with the page or from where the page is from. */
export function ours(source: string): boolean {
  if (/^(data:image\/|blob:)/i.test(source)) return true
  return URL.canParse(source, BASE) && new URL(source, BASE).origin === BASE.origin
}

export function Picture({ source, label }: { source: string; label: string }) {
  if (!ours(source)) {
    return (
      <a href={source} target="_blank" rel="noopener noreferrer">
        {label}
      </a>
    )
  }
  return (
    <button type="button" class="picture" title={common('larger')} onClick={() => enlarge(source, label)}>
      <img src={source} alt={label} />
    </button>
  )
}

/** Over the page, until Escape or a click. The browser keeps the focus inside and gives it back. */
export function enlarge(source: string, label: string): void {
  const dialog = document.createElement('dialog')
  dialog.className = 'larger'
  dialog.ariaLabel = label
  const image = document.createElement('img')
  image.src = source
  image.alt = label
  const close = document.createElement('button')
  close.type = 'button'
  close.className = 'button'
  close.textContent = common('close')
  dialog.append(image, close)
  dialog.onclick = () => dialog.close()
  dialog.onclose = () => dialog.remove()
  document.body.append(dialog)
  dialog.showModal()
}
