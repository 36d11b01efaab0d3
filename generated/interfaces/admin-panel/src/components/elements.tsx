// The small parts that every page is made of.
import type { ComponentProps, ReactNode } from 'react';
import { Link } from 'react-router';
import { Icon, type IconName } from './icons';

type Tone = 'primary' | 'plain' | 'danger' | 'quiet';

const TONES: Record<Tone, string> = {
  primary: 'bg-accent text-on-accent hover:opacity-90 border-transparent',
  plain: 'bg-surface text-ink border-edge hover:bg-sunken',
  danger: 'bg-danger text-on-danger border-transparent hover:opacity-90',
  quiet: 'bg-transparent text-muted border-transparent hover:bg-sunken hover:text-ink',
};

const buttonClass = (tone: Tone, small: boolean): string =>
  `inline-flex items-center justify-center gap-2 rounded-lg border font-medium whitespace-nowrap pointer-coarse:min-h-11 motion-safe:transition-colors disabled:opacity-60 disabled:cursor-not-allowed ${
    small ? 'min-h-8 px-2.5 text-sm' : 'min-h-10 px-4 text-[0.9375rem]'
  } ${TONES[tone]}`;

interface ButtonLook {
  tone?: Tone;
  small?: boolean;
  icon?: IconName;
}

export function Button({
  tone = 'plain',
  small = false,
  icon,
  className = '',
  children,
  ...rest
}: ComponentProps<'button'> & ButtonLook) {
  return (
    <button type="button" className={`${buttonClass(tone, small)} ${className}`} {...rest}>
      {icon !== undefined && <Icon name={icon} className="size-4" />}
      {children}
    </button>
  );
}

export function LinkButton({
  tone = 'plain',
  small = false,
  icon,
  children,
  ...rest
}: ComponentProps<typeof Link> & ButtonLook) {
  return (
    <Link className={buttonClass(tone, small)} {...rest}>
      {icon !== undefined && <Icon name={icon} className="size-4" />}
      {children}
    </Link>
  );
}

export type BadgeTone = 'neutral' | 'accent' | 'danger' | 'warning' | 'info';

const BADGES: Record<BadgeTone, string> = {
  neutral: 'bg-sunken text-muted',
  accent: 'bg-accent-soft text-accent',
  danger: 'bg-danger-soft text-danger',
  warning: 'bg-warning-soft text-warning',
  info: 'bg-info-soft text-info',
};

export function Badge({ tone = 'neutral', children }: { tone?: BadgeTone; children: ReactNode }) {
  return (
    <span
      className={`inline-flex items-center rounded-md px-2 py-0.5 text-xs font-medium ${BADGES[tone]}`}
    >
      {children}
    </span>
  );
}

export function Panel({
  title,
  description,
  action,
  tone = 'plain',
  children,
}: {
  title?: string;
  description?: ReactNode;
  action?: ReactNode;
  tone?: 'plain' | 'danger';
  children?: ReactNode;
}) {
  return (
    <section
      {...(title === undefined ? {} : { 'aria-label': title })}
      className={`rounded-xl border bg-surface p-5 shadow-card sm:p-6 ${
        tone === 'danger' ? 'border-danger/40' : 'border-line'
      }`}
    >
      {(title !== undefined || action !== undefined) && (
        <div className="mb-4 flex flex-wrap items-start justify-between gap-3 last:mb-0">
          <div className="min-w-0 max-w-2xl">
            <h2 className="text-base font-semibold">{title}</h2>
            {description !== undefined && <p className="mt-1 text-sm text-muted">{description}</p>}
          </div>
          {action}
        </div>
      )}
      {children}
    </section>
  );
}

export function Mono({ children }: { children: ReactNode }) {
  return <span className="font-mono text-[0.8125rem] break-all">{children}</span>;
}

/** A number with its name; several of them stand in a `Tiles`. */
export function Tile({
  label,
  value,
  tone = 'plain',
}: {
  label: string;
  value: string;
  tone?: 'plain' | 'danger' | 'warning';
}) {
  const color = { plain: '', danger: 'text-danger', warning: 'text-warning' }[tone];
  return (
    <div className="bg-surface px-4 py-3">
      <dt className="text-xs text-muted">{label}</dt>
      <dd className={`mt-0.5 text-xl font-semibold tabular-nums ${color}`}>{value}</dd>
    </div>
  );
}

export function Tiles({ children }: { children: ReactNode }) {
  return (
    <dl className="grid grid-cols-2 gap-px overflow-hidden rounded-lg border border-line bg-line sm:grid-cols-3 lg:grid-cols-5 max-lg:[&>*:last-child:nth-child(odd)]:col-span-full">
      {children}
    </dl>
  );
}
