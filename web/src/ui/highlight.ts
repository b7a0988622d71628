import hljs from 'highlight.js/lib/core'
import bash from 'highlight.js/lib/languages/bash'
import javascript from 'highlight.js/lib/languages/javascript'
import json from 'highlight.js/lib/languages/json'
import python from 'highlight.js/lib/languages/python'
import sql from 'highlight.js/lib/languages/sql'
import typescript from 'highlight.js/lib/languages/typescript'
import xml from 'highlight.js/lib/languages/xml'
import yaml from 'highlight.js/lib/languages/yaml'

for (const [name, language] of Object.entries({ bash, javascript, json, python, sql, typescript, xml, yaml })) {
  hljs.registerLanguage(name, language)
}

export function colour(code: HTMLElement): void {
  code.dataset.done = '1'
  const name = code.dataset.lang ?? ''
  if (hljs.getLanguage(name)) code.innerHTML = hljs.highlight(code.textContent, { language: name, ignoreIllegals: true }).value
}
