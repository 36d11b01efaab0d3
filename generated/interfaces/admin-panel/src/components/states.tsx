// What stands where data would be: while it loads, when there is none, and when it could not be had.
import type { ReactNode } from 'react';
import { type ApiFailure, headlineOf } from '../api/failure';
import { Button, Mono } from './elements';
import { Icon, type IconName } from './icons';

export function Loading({ label = 'Loading', rows = 3 }: { label?: string; rows?: number }) {
  return (
    <div role="status" className="space-y-3">
      <span className="sr-only">{label}…</span>
      {Array.from({ length: rows }, (_, row) => row).map((row) => (
        <div
          key={row}
          aria-hidden="true"
          className="h-16 motion-safe:animate-pulse rounded-xl border border-line bg-surface"
        />
      ))}
    </div>
  );
}

export function Empty({
  icon,
  title,
  children,
  action,
}: {
  icon: IconName;
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}) {
  return (
    <div className="flex flex-col items-center rounded-xl border border-dashed border-edge/60 px-6 py-12 text-center">
      <span className="mb-3 rounded-full bg-sunken p-3 text-muted">
        <Icon name={icon} className="size-6" />
      </span>
      <p className="font-semibold">{title}</p>
      {children !== undefined && <p className="mt-1 max-w-md text-sm text-muted">{children}</p>}
      {action !== undefined && <div className="mt-4">{action}</div>}
    </div>
  );
}

export function Failure({
  failure,
  onRetry,
  compact = false,
}: {
  failure: ApiFailure;
  onRetry?: () => void;
  compact?: boolean;
}) {
  return (
    <div
      role="alert"
      className={`flex gap-3 rounded-xl border border-danger/40 bg-danger-soft text-sm ${compact ? 'p-3' : 'p-5'}`}
    >
      <Icon name="alert" className="mt-0.5 size-5 text-danger" />
      <div className="min-w-0 flex-1">
        <p className="font-semibold">{headlineOf(failure)}</p>
        <p className="mt-0.5 break-words">{failure.message}</p>
        {failure.code !== null && (
          <p className="mt-1 text-xs text-muted">
            {failure.status} {failure.code}
          </p>
        )}
        {failure.requestId !== null && (
          <p className="mt-0.5 text-xs text-muted">
            Request <Mono>{failure.requestId}</Mono>
          </p>
        )}
        {onRetry !== undefined && (
          <Button small className="mt-3" icon="refresh" onClick={onRetry}>
            Try again
          </Button>
        )}
      </div>
    </div>
  );
}

export function LoadMore({
  shown,
  noun,
  hasMore,
  isLoading,
  failure,
  onMore,
}: {
  shown: number;
  noun: string;
  hasMore: boolean;
  isLoading: boolean;
  failure: ApiFailure | null;
  onMore: () => void;
}) {
  return (
    <div className="mt-4 space-y-3">
      {failure !== null && <Failure failure={failure} compact />}
      <div className="flex items-center justify-between gap-3 text-sm text-muted">
        <p role="status">{hasMore ? `The first ${shown} ${noun}` : `${shown} ${noun}`} shown</p>
        {hasMore && (
          <Button small onClick={onMore} disabled={isLoading}>
            {isLoading ? 'Loading…' : 'Load more'}
          </Button>
        )}
      </div>
    </div>
  );
}
