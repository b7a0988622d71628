const LEFTWARDS = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/

/** Of what is written: that of its first letter. A box with `dir="auto"` finds it too, and is ten times slower in a long text. */
export function directionOf(text: string): 'ltr' | 'rtl' {
  const [first] = /\p{L}/u.exec(text) ?? []
  return first !== undefined && LEFTWARDS.test(first) ? 'rtl' : 'ltr'
}
