import { words } from '../../app/lang.ts'

export const table = {
  en: {
    write: 'Write a message',
    placeholder: 'Ask anything…',
    send: 'Send',
    stop: 'Stop',
    queue: 'Add to the queue',
    steer: 'Say it to the answer under way',
    during: 'What is sent during an answer',
    waits: 'waits in the queue',
    joins: 'joins the answer',
    steered: 'An answer is being written. What you send now joins it at its next step.',
    behind: 'What you send now waits in the queue.',
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
    steer: '补充到当前回答',
    during: '回答期间发送的消息',
    waits: '排队等待',
    joins: '加入当前回答',
    steered: '正在回答。现在发送的消息会在下一步加入当前回答。',
    behind: '现在发送的消息会排队等待。',
    running: '正在回答。现在发送的消息会排队等待。',
    asked: '上方有问题等待你回答。在此发送消息会跳过该问题，问题将被丢弃。',
    hint: 'Enter 发送，Shift+Enter 换行。',
    background: '离开后会在后台继续。',
  },
}
export const t = words(table)
