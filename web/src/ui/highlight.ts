/** Colours for code. Each language is loaded when it is first seen. */

import hljs from 'highlight.js/lib/core'

const LANGUAGES = {
  bash: () => import('highlight.js/lib/languages/bash'),
  c: () => import('highlight.js/lib/languages/c'),
  cpp: () => import('highlight.js/lib/languages/cpp'),
  css: () => import('highlight.js/lib/languages/css'),
  diff: () => import('highlight.js/lib/languages/diff'),
  go: () => import('highlight.js/lib/languages/go'),
  java: () => import('highlight.js/lib/languages/java'),
  json: () => import('highlight.js/lib/languages/json'),
  python: () => import('highlight.js/lib/languages/python'),
  rust: () => import('highlight.js/lib/languages/rust'),
  sql: () => import('highlight.js/lib/languages/sql'),
  typescript: () => import('highlight.js/lib/languages/typescript'), // and JavaScript
  xml: () => import('highlight.js/lib/languages/xml'),
  yaml: () => import('highlight.js/lib/languages/yaml'),
}
const NAMES: Record<string, keyof typeof LANGUAGES> = {
  ...{ sh: 'bash', shell: 'bash', console: 'bash', zsh: 'bash', 'c++': 'cpp', golang: 'go', py: 'python', rs: 'rust' },
  ...{ javascript: 'typescript', js: 'typescript', jsx: 'typescript', ts: 'typescript', tsx: 'typescript' },
  ...{ html: 'xml', svg: 'xml', yml: 'yaml', jsonc: 'json', patch: 'diff' },
}

export async function colour(code: HTMLElement): Promise<void> {
  code.dataset.done = '1'
  const told = (code.dataset.lang ?? '').toLowerCase()
  const language = NAMES[told] ?? (told in LANGUAGES ? (told as keyof typeof LANGUAGES) : null)
  if (language === null) return
  if (!hljs.getLanguage(language)) hljs.registerLanguage(language, (await LANGUAGES[language]()).default)
  code.innerHTML = hljs.highlight(code.textContent, { language, ignoreIllegals: true }).value
}
