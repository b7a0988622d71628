/** Markdown to nodes that are safe to show: parsed by marked, cleaned by DOMPurify, then coloured when there is time. */

import DOMPurify from 'dompurify'
import { Marked, type Tokens } from 'marked'

const marked = new Marked({ gfm: true, breaks: true })
const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (one) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[one]!)

marked.use({
  extensions: [
    {
      name: 'math',
      level: 'inline',
      start: (source: string) => source.search(/\$|\\\(|\\\[/),
      tokenizer(source: string) {
        const found =
          /^\$\$([\s\S]+?)\$\$/.exec(source) ??
          /^\\\[([\s\S]+?)\\\]/.exec(source) ??
          /^\\\(([\s\S]+?)\\\)/.exec(source) ??
          /^\$(?![\s\d])((?:\\.|[^$\\\n])+?)(?<!\s)\$(?!\d)/.exec(source)
        if (!found) return undefined
        const display = found[0].startsWith('$$') || found[0].startsWith('\\[')
        return { type: 'math', raw: found[0], text: found[1]!, display }
      },
      renderer: (token) =>
        `<span class="math" data-display="${token.display ? '1' : ''}">${escaped(String(token.text))}</span>`,
    },
  ],
  renderer: {
    html: ({ text }: Tokens.HTML | Tokens.Tag) => escaped(text),
    // Nothing is fetched from other sites: a picture of theirs is a link to it.
    image({ href, text }: Tokens.Image) {
      if (fetched(href)) return `<img src="${escaped(href)}" alt="${escaped(text)}">`
      return `<a href="${escaped(href)}">${escaped(text || href)}</a>`
    },
    code({ text, lang }: Tokens.Code) {
      const name = (lang ?? '').trim().split(/\s/)[0] ?? ''
      return `<div class="code"><div class="code-head"><span>${escaped(name)}</span></div><pre tabindex="0"><code data-lang="${escaped(name)}">${escaped(text)}</code></pre></div>`
    },
    table(token: Tokens.Table) {
      const cells = (row: Tokens.TableCell[], tag: string) =>
        row.map((cell) => `<${tag}>${this.parser.parseInline(cell.tokens)}</${tag}>`).join('')
      const body = token.rows.map((row) => `<tr>${cells(row, 'td')}</tr>`).join('')
      return `<div class="table" tabindex="0"><table><thead><tr>${cells(token.header, 'th')}</tr></thead><tbody>${body}</tbody></table></div>`
    },
  },
})

DOMPurify.addHook('afterSanitizeAttributes', (node) => {
  if (node.tagName !== 'A') return
  node.setAttribute('target', '_blank')
  node.setAttribute('rel', 'noopener noreferrer nofollow')
})

const CLEAN = {
  RETURN_DOM_FRAGMENT: true as const,
  FORBID_TAGS: ['style', 'form', 'svg', 'math', 'iframe', 'audio', 'video'],
  FORBID_ATTR: ['style', 'id', 'name'],
  ADD_ATTR: ['target', 'tabindex'],
}

let fetched: (source: string) => boolean = () => false

/** `ours` tells which pictures may be shown; the others are links. */
export function rendered(text: string, ours: (source: string) => boolean): DocumentFragment {
  fetched = ours
  return DOMPurify.sanitize(marked.parse(text, { async: false }), CLEAN)
}

/** Blocks of the source that can be rendered one by one: while text grows only the last changes. */
export function blocksOf(text: string): string[] {
  return marked.lexer(text).map((token) => token.raw)
}

/** Colours code and sets formulas, with libraries that are loaded when the first one is seen. */
export async function embellish(root: HTMLElement): Promise<void> {
  const codes = [...root.querySelectorAll<HTMLElement>('code[data-lang]:not([data-done])')]
  const formulas = [...root.querySelectorAll<HTMLElement>('.math:not([data-done])')]
  if (codes.some((one) => one.dataset.lang)) {
    const { colour } = await import('./highlight.ts')
    await Promise.all(codes.map(colour))
  }
  if (formulas.length) {
    const { default: katex } = await import('katex')
    for (const one of formulas) {
      one.dataset.done = '1'
      const display = one.dataset.display === '1'
      katex.render(one.textContent, one, { output: 'mathml', displayMode: display, throwOnError: false })
      if (one.getBoundingClientRect().width > root.clientWidth) one.dataset.display = '1' // has a line of its own, and scrolls
      if (one.dataset.display) one.tabIndex = 0
    }
  }
}
