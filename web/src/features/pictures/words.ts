import { words } from '../../app/lang.ts'

export const table = {
  en: {
    attach: 'Attach pictures',
    attached: 'Pictures to send',
    remove: 'Remove {name}',
    pasted: 'picture',
    drop: 'Drop pictures here',
    unfit: '“{name}” cannot be attached: pictures are PNG, JPEG, WebP or GIF, of at most {size} MB.',
    many: 'At most {n} pictures go with one message.',
  },
  'zh-CN': {
    attach: '添加图片',
    attached: '待发送的图片',
    remove: '移除 {name}',
    pasted: '图片',
    drop: '将图片拖放到此处',
    unfit: '无法添加“{name}”：图片须为 PNG、JPEG、WebP 或 GIF 格式，且不超过 {size} MB。',
    many: '一条消息最多附带 {n} 张图片。',
  },
}
export const t = words(table)
