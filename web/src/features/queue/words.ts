import { words } from '../../app/lang.ts'

export const table = {
  en: {
    queue: 'Waiting in the queue',
    up: 'Earlier',
    down: 'Later',
    cancel: 'Take out',
    paused: 'Paused',
    pause: 'Pause',
    resume: 'Go on',
    nothing: 'A run without a message',
  },
  'zh-CN': {
    queue: '排队等待',
    up: '提前',
    down: '推后',
    cancel: '移出队列',
    paused: '已暂停',
    pause: '暂停',
    resume: '继续',
    nothing: '没有消息的运行',
  },
}
export const t = words(table)
