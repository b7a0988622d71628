import { words } from '../../app/lang.ts'

export const table = {
  en: {
    write: 'Write a message',
    placeholder: 'Ask anything…',
    send: 'Send',
    stop: 'Stop',
    queue: 'Add to the queue',
    running: 'An answer is being written. What you send now waits in the queue.',
    asked: 'A question waits for your answer above. A message sent here goes on without it, and the question is dropped.',
    hint: 'Enter sends, Shift+Enter begins a new line.',
    background: 'It goes on in the background when you leave.',
  },
  'zh-CN': {
    write: '输入消息',
    placeholder: '想问什么就问…',
    send: '发送',
    stop: '停止',
    queue: '加入队列',
    running: '正在回答。现在发送的消息会排队等待。',
    asked: '上方有问题等待你回答。在此发送消息会跳过该问题，问题将被丢弃。',
    hint: 'Enter 发送，Shift+Enter 换行。',
    background: '离开后会在后台继续。',
  },
}
export const t = words(table)
