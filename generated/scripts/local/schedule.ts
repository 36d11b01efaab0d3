// Runs scheduled handlers when their time has come, as Cloudflare does: by UTC, at most once a minute.
import { CommandError } from '../deployment/context';

const FIELDS = [
  { min: 0, max: 59 },
  { min: 0, max: 23 },
  { min: 1, max: 31 },
  { min: 1, max: 12 },
  // Cloudflare counts the days of the week from 1, which is Sunday.
  { min: 1, max: 7 },
] as const;
const MINUTE_MS = 60_000;

function matchesPart(
  part: string,
  value: number,
  { min, max }: { min: number; max: number },
): boolean {
  const [, from, to, step] = /^(\*|\d+)(?:-(\d+))?(?:\/(\d+))?$/.exec(part) ?? [];
  if (from === undefined) {
    throw new RangeError(`not a part of a schedule: ${part}`);
  }
  const first = from === '*' ? min : Number(from);
  const isOpen = from === '*' || (step !== undefined && to === undefined);
  const last = to !== undefined ? Number(to) : isOpen ? max : first;
  return value >= first && value <= last && (value - first) % Number(step ?? 1) === 0;
}

/** Whether `time` is within a minute of the schedule `cron`: minute, hour, day, month, day of the week. */
export function isDue(cron: string, time: Date): boolean {
  const parts = cron.trim().split(/\s+/);
  const values = [
    time.getUTCMinutes(),
    time.getUTCHours(),
    time.getUTCDate(),
    time.getUTCMonth() + 1,
    time.getUTCDay() + 1,
  ];
  if (parts.length !== FIELDS.length) {
    throw new RangeError(`a schedule has five parts: ${cron}`);
  }
  return FIELDS.every((field, index) =>
    (parts[index] ?? '').split(',').some((part) => matchesPart(part, values[index] ?? 0, field)),
  );
}

export interface ScheduledWorker {
  name: string;
  crons: readonly string[];
}

/** Looks once a minute which Workers are due. The returned function ends it. Throws if a schedule cannot be read. */
export function startSchedule(
  workers: readonly ScheduledWorker[],
  run: (name: string, cron: string) => void,
): () => void {
  for (const { name, crons } of workers) {
    for (const cron of crons) {
      try {
        isDue(cron, new Date());
      } catch (error) {
        throw new CommandError(`${name}: ${error instanceof Error ? error.message : cron}`);
      }
    }
  }
  const timer = setInterval(() => {
    const now = new Date();
    for (const { name, crons } of workers) {
      for (const cron of crons.filter((one) => isDue(one, now))) {
        run(name, cron);
      }
    }
  }, MINUTE_MS);
  // The schedule alone keeps no process alive.
  timer.unref();
  return () => clearInterval(timer);
}
