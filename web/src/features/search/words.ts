import { words } from '../../app/lang.ts'

export const table = {
  en: {
    search: 'Search',
    field: 'Search conversations',
    clear: 'Clear the search',
    hits: 'Found in conversations',
    none: 'Nothing was said about this.',
    looking: 'Searching…',
    titles: 'Only titles are searched: what is stored here is encrypted.',
    failed: 'The search failed: {reason}',
    more: 'Show more',
    human: 'You',
    ai: 'Assistant',
    tool: 'Tool',
    status: 'Error',
  },
  'zh-CN': {
    search: '搜索',
    field: '搜索对话',
    clear: '清除搜索',
    hits: '在对话中找到',
    none: '没有相关内容。',
    looking: '搜索中…',
    titles: '仅搜索标题：此处存储的内容已加密。',
    failed: '搜索失败：{reason}',
    more: '显示更多',
    human: '你',
    ai: '助手',
    tool: '工具',
    status: '错误',
  },
}
export const t = words(table)
