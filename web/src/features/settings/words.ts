import { words } from '../../app/lang.ts'

export const table = {
  en: { language: 'Language', theme: 'Colours', system: 'System', light: 'Light', dark: 'Dark', out: 'Log out' },
  'zh-CN': { language: '语言', theme: '外观', system: '跟随系统', light: '浅色', dark: '深色', out: '退出登录' },
}
export const t = words(table)
