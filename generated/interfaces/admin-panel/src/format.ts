// Numbers, times and amounts as people read them.

const wholeNumber = new Intl.NumberFormat('en-GB');
const dateOnly = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium' });
const dateAndTime = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
const clock = new Intl.DateTimeFormat('en-GB', {
  month: 'short',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const dollars = new Intl.NumberFormat('en-US', {
  style: 'currency',
  currency: 'USD',
  maximumFractionDigits: 4,
});

export const formatCount = (count: number): string => wholeNumber.format(count);
export const formatDate = (timestamp: string): string => dateOnly.format(new Date(timestamp));
export const formatDateTime = (timestamp: string): string =>
  dateAndTime.format(new Date(timestamp));
export const formatClock = (timestamp: string): string => clock.format(new Date(timestamp));
export const formatCost = (microdollars: number): string =>
  dollars.format(microdollars / 1_000_000);

export function formatMilliseconds(milliseconds: number | null): string {
  if (milliseconds === null) {
    return '–';
  }
  return milliseconds < 1000
    ? `${Math.round(milliseconds)} ms`
    : `${(milliseconds / 1000).toFixed(1)} s`;
}

export function formatShare(share: number | null): string {
  return share === null ? '–' : `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${formatCount(count)} ${count === 1 ? one : many}`;

export const sum = (numbers: readonly number[]): number =>
  numbers.reduce((total, number) => total + number, 0);
