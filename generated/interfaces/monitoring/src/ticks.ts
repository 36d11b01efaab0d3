// Which buckets a time axis names: those at round times of the reader's clock, as many as there is room for.
import type { Range } from './metrics';

const DAY_MINUTES = 24 * 60;
const DAY_MS = DAY_MINUTES * 60_000;

/** Steps between labels, in minutes, the finest first. */
const STEPS: Record<Range, number[]> = {
  hour: [5, 10, 15, 20, 30],
  day: [60, 120, 180, 240, 360, 720],
  week: [DAY_MINUTES, 2 * DAY_MINUTES, 3 * DAY_MINUTES],
};
/** A label and the gap to the next one, in CSS pixels. */
const LABEL_WIDTHS: Record<Range, number> = { hour: 56, day: 56, week: 78 };

/** Equal for two times if no round time of the step lies between them. */
function stepOf(timeMs: number, stepMinutes: number): number {
  const time = new Date(timeMs);
  // The day by the reader's calendar, which a change of the clock does not shift.
  const day = Date.UTC(time.getFullYear(), time.getMonth(), time.getDate()) / DAY_MS;
  const minute = time.getHours() * 60 + time.getMinutes();
  return Math.floor((day * DAY_MINUTES + minute) / stepMinutes);
}

/** The places of the buckets to name. */
export function tickIndexes(times: readonly number[], range: Range, width: number): number[] {
  const [first = 0, second = first] = times;
  const room = Math.max(1, Math.floor(width / LABEL_WIDTHS[range]));
  let indexes: number[] = [];
  for (const step of STEPS[range]) {
    indexes = times.flatMap((timeMs, index) => {
      const before = times[index - 1] ?? first - (second - first);
      return stepOf(timeMs, step) === stepOf(before, step) ? [] : [index];
    });
    if (indexes.length <= room) {
      break;
    }
  }
  return indexes;
}
