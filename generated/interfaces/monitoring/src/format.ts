// Numbers with their units, and times in the reader's zone.
import type { Range, Value } from './metrics';

export const NOTHING = '–';

const count = new Intl.NumberFormat('en-GB');
const dollars = new Intl.NumberFormat('en-US', { style: 'currency', currency: 'USD' });
const smallDollars = new Intl.NumberFormat('en-US', {
  style: 'currency',
  currency: 'USD',
  maximumFractionDigits: 4,
});
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const minute = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const dayAndMinute = new Intl.DateTimeFormat('en-GB', {
  weekday: 'short',
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
});
const weekdayAndMinute = new Intl.DateTimeFormat('en-GB', {
  weekday: 'short',
  hour: '2-digit',
  minute: '2-digit',
});
const day = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short' });

export const formatCount = (value: Value): string =>
  value === null ? NOTHING : count.format(value);

export const formatPercent = (value: Value): string =>
  value === null ? NOTHING : `${count.format(Math.round(value * 10_000) / 100)} %`;

/** In the unit that fits `scale`: all labels of an axis have the unit of its end. */
export function formatMilliseconds(value: Value, scale: number = value ?? 0): string {
  if (value === null) {
    return NOTHING;
  }
  return scale < 1000
    ? `${count.format(Math.round(value))} ms`
    : `${count.format(Math.round(value / 10) / 100)} s`;
}

/** Below a dollar the cents are too coarse: one image costs a few of them. */
export function formatCost(microdollars: number): string {
  const amount = microdollars / 1_000_000;
  return (amount < 1 ? smallDollars : dollars).format(amount);
}

export const formatClock = (timeMs: number): string => clock.format(timeMs);

/** A bucket's start where there is little room. */
export const formatTick = (timeMs: number, range: Range): string =>
  range === 'week' ? day.format(timeMs) : minute.format(timeMs);

/** A bucket's start where the day alone says too little. */
export const formatMoment = (timeMs: number, range: Range): string =>
  range === 'hour' ? minute.format(timeMs) : weekdayAndMinute.format(timeMs);

/** A bucket from its start to its end. */
export const formatBucket = (timeMs: number, bucketSeconds: number): string =>
  `${dayAndMinute.format(timeMs)} – ${minute.format(timeMs + bucketSeconds * 1000)}`;

export const RANGE_NAMES: Record<Range, string> = {
  hour: 'Last hour',
  day: 'Last day',
  week: 'Last week',
};
