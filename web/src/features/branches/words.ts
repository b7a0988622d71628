import { words } from '../../app/lang.ts'

export const table = {
  en: {
    edit: 'Edit and send again',
    again: 'Answer again',
    fork: 'Continue in a new conversation',
    editing: 'Edit the message',
    resend: 'Send as another version',
    kept: 'What was said before stays as a version of its own.',
    busy: 'Wait for the answer, or stop it.',
    versions: 'Versions',
    version: 'Version {n} of {all}',
    before: 'Version before: {text}',
    after: 'Version after: {text}',
    forkedFrom: 'Forked from “{title}”',
    another: 'another conversation',
    forked: '{title} (fork)',
  },
  'zh-CN': {
    edit: '编辑并重新发送',
    again: '重新回答',
    fork: '在新对话中继续',
    editing: '编辑消息',
    resend: '作为另一个版本发送',
    kept: '之前的内容会作为单独的版本保留。',
    busy: '请等待回答完成，或停止它。',
    versions: '版本',
    version: '第 {n} 个版本，共 {all} 个',
    before: '上一个版本：{text}',
    after: '下一个版本：{text}',
    forkedFrom: '分叉自“{title}”',
    another: '另一个对话',
    forked: '{title}（分叉）',
  },
}
export const t = words(table)
