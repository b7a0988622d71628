import { words } from '../../app/lang.ts'

export const table = {
  en: {
    asks: 'The assistant asks',
    approve: 'Approve',
    reject: 'Reject',
    edit: 'Change',
    respond: 'Answer',
    answer: 'Your answer',
    send: 'Send the answer',
    details: 'What it is about',
    wrong: 'This cannot be read as what is asked for.',
    several: '{n} of {all}',
    waits: 'The next step waits.',
    waitsAt: 'The next step waits: {nodes}.',
    go: 'Go on',
  },
  'zh-CN': {
    asks: '助手需要你确认',
    approve: '批准',
    reject: '拒绝',
    edit: '修改',
    respond: '回答',
    answer: '你的回答',
    send: '发送回答',
    details: '详情',
    wrong: '格式不正确。',
    several: '第 {n} 个，共 {all} 个',
    waits: '下一步正在等待。',
    waitsAt: '下一步正在等待：{nodes}。',
    go: '继续',
  },
}
export const t = words(table)
