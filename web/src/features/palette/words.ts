import { words } from '../../app/lang.ts'

export const table = {
  en: {
    palette: 'Go to or do …',
    field: 'A conversation or an action',
    actions: 'Actions',
    threads: 'Conversations',
    none: 'Nothing is called that.',
    count: '{n} results',
    keys: 'Keyboard shortcuts',
    key: 'Key',
    does: 'What it does',
    send: 'Send the message',
    line: 'Begin a new line in the message',
    leave: 'Close what is open over the page',
    move: 'Go through the list of the palette, of a menu or of the timeline',
    tab: 'Go from one thing to the next',
  },
  'zh-CN': {
    palette: '前往或执行…',
    field: '对话或操作',
    actions: '操作',
    threads: '对话',
    none: '没有匹配的内容。',
    count: '{n} 个结果',
    keys: '键盘快捷键',
    key: '按键',
    does: '作用',
    send: '发送消息',
    line: '在消息中换行',
    leave: '关闭页面上方打开的内容',
    move: '在面板、菜单或时间线的列表中移动',
    tab: '移到下一个元素',
  },
}
export const t = words(table)
