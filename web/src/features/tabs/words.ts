import { words } from '../../app/lang.ts'

export const table = {
  en: { tabs: 'Open conversations', next: 'Next tab', previous: 'Previous tab', close: 'Close this tab', others: 'Close the other tabs' },
  'zh-CN': { tabs: '打开的对话', next: '下一个标签页', previous: '上一个标签页', close: '关闭此标签页', others: '关闭其他标签页' },
}
export const t = words(table)
