/** Words that more than one feature says. */

import { words } from './lang.ts'

export const table = {
  en: {
    copy: 'Copy',
    copied: 'Copied',
    cancel: 'Cancel',
    close: 'Close',
    retry: 'Try again',
    undo: 'Undo',
    larger: 'Show larger',
    untitled: 'New conversation',
    unreachable: 'The server cannot be reached just now.',
    outdated: 'A part of the page could not be loaded. The server may have a newer page.',
    reload: 'Reload',
    running: 'Running',
    queued: 'Queued',
    paused: 'Paused',
    waiting: 'Needs you',
    failed: 'Failed',
    unread: 'New answer',
  },
  'zh-CN': {
    copy: '复制',
    copied: '已复制',
    cancel: '取消',
    close: '关闭',
    retry: '重试',
    undo: '撤销',
    larger: '查看大图',
    untitled: '新对话',
    unreachable: '暂时无法连接服务器。',
    outdated: '页面的一部分无法加载，服务器上可能有新版页面。',
    reload: '重新加载',
    running: '运行中',
    queued: '排队中',
    paused: '已暂停',
    waiting: '等待你处理',
    failed: '失败',
    unread: '有新回答',
  },
}

export const common = words(table)
