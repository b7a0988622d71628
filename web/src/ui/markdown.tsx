import { signal } from '@preact/signals'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { common } from '../app/words.ts'
import { copyText } from './copy.tsx'
import { enlarge, ours } from './picture.tsx'

type Library = typeof import('./render.ts')

/** The parser and the cleaner come with the first text to be shown; until then it is shown as it was written. */
const library = signal<Library | null>(null)
let asked = false

function load(): void {
  if (asked) return
  asked = true
  void import('./render.ts').then(
    (one) => (library.value = one),
    () => (asked = false),
  )
}

interface Shown {
  text: string
  blocks: string[]
  nodes: HTMLElement[]
}

const UNSETTLED = 3 // a list or a table may go on behind a blank line

/** While the text grows only its last blocks are made anew, so that a long answer costs what is new in it. */
export function Markdown({ text, live = false }: { text: string; live?: boolean }) {
  const box = useRef<HTMLDivElement>(null)
  const shown = useRef<Shown>({ text: '', blocks: [], nodes: [] })
  const made = library.value
  useLayoutEffect(() => {
    if (made === null) {
      load()
      box.current!.textContent = text
      return
    }
    if (!shown.current.nodes.length) box.current!.replaceChildren()
    shown.current = update(made, box.current!, shown.current, text.replace(/\r\n?/g, '\n'))
    if (!live) void made.embellish(box.current!)
  }, [text, live, made])
  return <div class="markdown" ref={box} />
}

function update(made: Library, box: HTMLElement, before: Shown, text: string): Shown {
  if (text === before.text) return before
  const blocks = cut(made, before, text)
  let same = 0
  while (same < blocks.length && blocks[same] === before.blocks[same]) same++
  for (const old of before.nodes.slice(same)) old.remove()
  const added = blocks.slice(same).map((one) => {
    const node = document.createElement('div')
    node.dir = 'auto'
    node.append(made.rendered(one, ours))
    for (const head of node.querySelectorAll('.code-head')) head.append(copyOf(head))
    for (const image of node.querySelectorAll('img')) enlargeable(image)
    return node
  })
  box.append(...added)
  return { text, blocks, nodes: [...before.nodes.slice(0, same), ...added] }
}

function cut(made: Library, before: Shown, text: string): string[] {
  if (/^ {0,3}\[[^\]]+\]:/m.test(text)) return [text] // links that are defined elsewhere in it
  const grown = before.text && text.startsWith(before.text)
  const kept = grown ? before.blocks.slice(0, -UNSETTLED) : []
  return [...kept, ...made.blocksOf(text.slice(kept.join('').length))]
}

function enlargeable(image: HTMLImageElement): void {
  const button = document.createElement('button')
  button.type = 'button'
  button.className = 'picture'
  button.title = common('larger')
  button.onclick = () => enlarge(image.src, image.alt)
  image.replaceWith(button)
  button.append(image)
}

function copyOf(head: Element): HTMLButtonElement {
  const button = document.createElement('button')
  button.type = 'button'
  button.className = 'code-copy'
  button.textContent = common('copy')
  button.onclick = async () => {
    await copyText(head.parentElement?.querySelector('code')?.textContent ?? '')
    button.textContent = common('copied')
    setTimeout(() => (button.textContent = common('copy')), 1500)
  }
  return button
}
