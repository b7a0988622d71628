import { words } from '../../app/lang.ts'

export const table = {
  en: {
    failed: 'The answer failed.',
    late: 'The question had been answered already. What was answered first stands.',
    crashed: 'The server stopped while it answered.',
    changed: 'The assistant was changed, and this conversation waits at a step that it does not have any more.',
    skip: 'Go on without the tool ({names})',
    node: 'Step to go on at',
    goto: 'Go on at this step',
    earlier: 'Go back to an earlier step',
    drop: 'Drop what it waits for',
    retry: 'Try again from the last good step',
    keep: 'Keep what was said',
    continue: 'Let it go on',
    regenerate: 'Answer again',
    discard: 'Discard the turn',
    note: 'Or write below: the next message goes on from here.',
  },
  'zh-CN': {
    failed: '回答失败。',
    late: '这个问题此前已有人回答，以先到的回答为准。',
    crashed: '服务器在回答过程中停止了。',
    changed: '助手已被修改，此对话等待的步骤不再存在。',
    skip: '跳过工具继续（{names}）',
    node: '要继续的步骤',
    goto: '从此步骤继续',
    earlier: '回到较早的步骤',
    drop: '放弃等待的内容',
    retry: '从最近的成功步骤重试',
    keep: '保留已有内容',
    continue: '让它继续',
    regenerate: '重新回答',
    discard: '丢弃这一轮',
    note: '也可以在下方输入：下一条消息会从这里继续。',
  },
}
export const t = words(table)
