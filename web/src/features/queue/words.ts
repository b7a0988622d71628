import { words } from '../../app/lang.ts'

export const table = {
  en: {
    queue: 'Waiting in the queue',
    up: 'Earlier',
    down: 'Later',
    cancel: 'Take out',
    paused: 'Paused',
    pause: 'Pause after this step',
    pausing: 'It pauses when this step is done.',
    held: 'Paused between two steps. Nothing is lost; what waits goes on after it.',
    resume: 'Go on',
    nothing: 'A run without a message',
  },
  'zh-CN': {
    queue: '排队等待',
    up: '提前',
    down: '推后',
    cancel: '移出队列',
    paused: '已暂停',
    pause: '本步骤后暂停',
    pausing: '当前步骤完成后暂停。',
    held: '已在两个步骤之间暂停。内容不会丢失，排队的消息会在其后继续。',
    resume: '继续',
    nothing: '没有消息的运行',
  },
}
export const t = words(table)
