import { words } from '../../app/lang.ts'

export const table = {
  en: {
    assistant: 'Assistant',
    settings: 'Assistant and its settings',
    of: 'Assistant: {name}. Settings',
    unknown: 'An assistant that is gone',
    kept: 'Kept with the conversation, for each of its answers from now on.',
    defaults: 'Use the defaults',
    starters: 'What one may ask',
    noNumber: 'This is no number.',
    noWhole: 'This is no whole number.',
    noJson: 'This is no JSON.',
  },
  'zh-CN': {
    assistant: '助手',
    settings: '助手及其设置',
    of: '助手：{name}。设置',
    unknown: '已删除的助手',
    kept: '随对话保存，用于之后的每个回答。',
    defaults: '恢复默认值',
    starters: '可以这样问',
    noNumber: '不是数字。',
    noWhole: '不是整数。',
    noJson: '不是有效的 JSON。',
  },
}
export const t = words(table)
