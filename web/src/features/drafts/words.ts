import { words } from '../../app/lang.ts'

export const table = {
  en: {
    heavy: 'These pictures are too large together to follow you to other devices: they stay in this browser.',
    other: 'On another device you wrote: “{text}”',
    pictures: 'On another device you attached pictures.',
    add: 'Add it here',
    drop: 'Keep only what is here',
  },
  'zh-CN': {
    heavy: '这些图片总大小过大，无法同步到其他设备，只保留在此浏览器中。',
    other: '你在另一台设备上写了：“{text}”',
    pictures: '你在另一台设备上添加了图片。',
    add: '添加到此处',
    drop: '只保留此处内容',
  },
}
export const t = words(table)
