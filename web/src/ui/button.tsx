import type { ButtonHTMLAttributes, ComponentChildren } from 'preact'
import { Icon, type IconName } from './icon.tsx'

type Rest = Omit<ButtonHTMLAttributes<HTMLButtonElement>, 'label' | 'icon'>

/** A round one with a picture only; `label` is its name, also for everybody who does not see it. A `title` says more. */
export function IconButton({ icon, label, ...rest }: { icon: IconName; label: string; } & Rest) {
  return (
    <button type="button" title={label} {...rest} class={`icon-button ${String(rest.class ?? '')}`} aria-label={label}>
      <Icon name={icon} />
    </button>
  )
}

export function Button({
  kind = 'plain',
  icon,
  children,
  ...rest
}: { kind?: 'plain' | 'main' | 'danger'; icon?: IconName; children?: ComponentChildren; } & Rest) {
  return (
    <button type="button" {...rest} class={`button ${kind} ${String(rest.class ?? '')}`}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  )
}
