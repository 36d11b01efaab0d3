// The entries as a list of buttons, each opening its details.
import type { LogEntry, LogLevel } from '../../api/types';
import { Badge, type BadgeTone } from '../../components/elements';
import { formatClock } from '../../format';

const TONES: Record<LogLevel, BadgeTone> = {
  DEBUG: 'neutral',
  INFO: 'info',
  WARN: 'warning',
  ERROR: 'danger',
};

export function LevelBadge({ level }: { level: LogLevel }) {
  return <Badge tone={TONES[level]}>{level}</Badge>;
}

export function LogTime({ timestamp }: { timestamp: string }) {
  return (
    <time dateTime={timestamp} title={timestamp} className="tabular-nums">
      {formatClock(timestamp)}
    </time>
  );
}

/** What a request came to, where the entry says it. */
function outcomeOf({ metadata }: LogEntry): string {
  const { status, code, duration_ms } = metadata;
  return [
    typeof status === 'number' ? String(status) : '',
    typeof code === 'string' ? code : '',
    typeof duration_ms === 'number' ? `${duration_ms} ms` : '',
  ]
    .filter((part) => part !== '')
    .join(' · ');
}

function LogRow({ entry, onOpen }: { entry: LogEntry; onOpen: () => void }) {
  const outcome = outcomeOf(entry);
  return (
    <li>
      <button
        type="button"
        aria-haspopup="dialog"
        onClick={onOpen}
        className="grid w-full grid-cols-[auto_minmax(0,1fr)] items-baseline gap-x-3 gap-y-1 px-4 py-2.5 text-left hover:bg-sunken/70 focus-visible:-outline-offset-2 md:grid-cols-[9rem_4rem_minmax(0,1fr)_auto]"
      >
        <span className="text-sm text-muted max-md:order-2 max-md:text-right">
          <LogTime timestamp={entry.timestamp} />
        </span>
        <span className="max-md:order-1">
          <LevelBadge level={entry.level} />
        </span>
        <span className="min-w-0 max-md:order-3 max-md:col-span-2">
          <span className="break-words">{entry.message}</span>
          {outcome !== '' && <span className="ml-2 text-sm text-muted">{outcome}</span>}
        </span>
        <span className="text-sm text-muted max-md:order-4 max-md:col-span-2">
          {entry.component}
          {entry.instance_id !== null && ` · ${entry.instance_id}`}
        </span>
      </button>
    </li>
  );
}

export function LogList({
  entries,
  onOpen,
}: {
  entries: LogEntry[];
  onOpen: (entry: LogEntry) => void;
}) {
  return (
    <ul
      aria-label="Log entries, newest first"
      className="divide-y divide-line overflow-hidden rounded-xl border border-line bg-surface shadow-card"
    >
      {entries.map((entry) => (
        <LogRow key={entry.log_id} entry={entry} onOpen={() => onOpen(entry)} />
      ))}
    </ul>
  );
}
