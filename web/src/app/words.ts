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
    running: '运行中',
    queued: '排队中',
    paused: '已暂停',
    waiting: '等待你处理',
    failed: '失败',
    unread: '有新回答',
  },
}

export const common = words(table)
