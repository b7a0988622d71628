import { words } from '../../app/lang.ts'

export const table = {
  en: {
    export: 'Export the conversation',
    markdown: 'Export as Markdown, to read',
    json: 'Export as JSON, of what was said',
    bundle: 'Export as a bundle, with all branches and checkpoints',
  },
  'zh-CN': {
    export: '导出对话',
    markdown: '导出为 Markdown，便于阅读',
    json: '导出为 JSON，包含对话内容',
    bundle: '导出为完整包，包含所有分支和检查点',
  },
}
export const t = words(table)
