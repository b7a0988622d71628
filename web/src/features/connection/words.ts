import { words } from '../../app/lang.ts'

export const table = {
  en: {
    connecting: 'Connecting…',
    cut: 'No connection.',
    waiting: 'Try {n} in {seconds} s.',
    trying: 'Try {n} is under way.',
    safe: 'Nothing is lost: what you write is kept and sent later.',
    now: 'Try now',
    offline: 'You are offline.',
    login: 'This server wants to know who you are.',
    wrong: 'The server does not know this token. Perhaps it is no longer valid.',
    token: 'Access token',
    enter: 'Log in',
    cached: 'Shown as this browser saw it last.',
    noCache: 'This browser keeps nothing between visits (a private window, or no room): drafts are lost when the tab closes.',
  },
  'zh-CN': {
    connecting: '正在连接…',
    cut: '连接已断开。',
    waiting: '{seconds} 秒后第 {n} 次重试。',
    trying: '正在第 {n} 次重试。',
    safe: '内容不会丢失：你写的内容会保留，稍后发送。',
    now: '立即重试',
    offline: '当前离线。',
    login: '此服务器需要登录。',
    wrong: '服务器不接受此令牌，它可能已失效。',
    token: '访问令牌',
    enter: '登录',
    cached: '显示的是此浏览器上次看到的内容。',
    noCache: '此浏览器无法保存数据（隐私窗口或空间不足）：关闭标签页后草稿会丢失。',
  },
}
export const t = words(table)
