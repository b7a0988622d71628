import { words } from '../../app/lang.ts'

export const table = {
  en: {
    failed: 'The answer failed.',
    crashed: 'The server stopped while it answered.',
    retry: 'Try again from the last good step',
    keep: 'Keep what was said',
    continue: 'Let it go on',
    regenerate: 'Answer again',
    discard: 'Discard the turn',
    note: 'Or write below: the next message goes on from here.',
  },
  'zh-CN': {
    failed: '回答失败。',
    crashed: '服务器在回答过程中停止了。',
    retry: '从最近的成功步骤重试',
    keep: '保留已有内容',
    continue: '让它继续',
    regenerate: '重新回答',
    discard: '丢弃这一轮',
    note: '也可以在下方输入：下一条消息会从这里继续。',
  },
}
export const t = words(table)
