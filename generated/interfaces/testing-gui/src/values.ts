// Questions about values that came from elsewhere, and how values are shown.

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const isHttpUrl = (value: unknown): value is string =>
  typeof value === 'string' &&
  URL.canParse(value) &&
  ['http:', 'https:'].includes(new URL(value).protocol);

export const textOr = <Fallback>(value: unknown, fallback: Fallback): string | Fallback =>
  typeof value === 'string' && value !== '' ? value : fallback;

const wholeNumber = new Intl.NumberFormat('en-GB');
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

export const formatCount = (count: number): string => wholeNumber.format(count);

export const formatClock = (timeMs: number): string => clock.format(timeMs);

export const formatDuration = (milliseconds: number): string =>
  milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(2)} s`;

/** For waiting: whole seconds, as they pass. */
export const formatSeconds = (seconds: number): string =>
  seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
