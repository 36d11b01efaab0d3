// The filters of the logs: how they stand in the address, and the query that they make.
import { LOG_LEVELS, type LogLevel, type LogQuery } from '../../api/types';

export const FILTER_NAMES = [
  'instance_id',
  'level',
  'period',
  'from',
  'to',
  'search',
  'component',
  'request_id',
  'user_id',
] as const;
export type FilterName = (typeof FILTER_NAMES)[number];
export type LogFilters = Record<FilterName, string>;

const MINUTE_MILLISECONDS = 60_000;

/** Back from now, unless `from` and `to` say otherwise. The empty one: everything that is kept. */
export const PERIODS = [
  { value: '', label: 'All time', minutes: 0 },
  { value: '15m', label: 'Last 15 minutes', minutes: 15 },
  { value: '1h', label: 'Last hour', minutes: 60 },
  { value: '24h', label: 'Last 24 hours', minutes: 24 * 60 },
  { value: '7d', label: 'Last 7 days', minutes: 7 * 24 * 60 },
] as const;
export const CUSTOM_PERIOD = 'custom';

const SEARCH_MAX = 200;

export function readFilters(get: (name: string) => string): LogFilters {
  return Object.fromEntries(FILTER_NAMES.map((name) => [name, get(name)])) as LogFilters;
}

export const hasFilters = (filters: LogFilters): boolean =>
  FILTER_NAMES.some((name) => filters[name] !== '');

export function levelsOf(text: string): LogLevel[] {
  const named = text.split(',');
  return LOG_LEVELS.filter((level) => named.includes(level));
}

const isTime = (text: string): boolean => text !== '' && !Number.isNaN(Date.parse(text));

/** `now` is when the list was asked for: all its pages have the same beginning, as their cursors demand. */
export function logQueryOf(filters: LogFilters, now: Date): LogQuery {
  const { instance_id, level, component, request_id, user_id, search, from, to } = filters;
  const period = PERIODS.find(({ value }) => value === filters.period);
  const query: LogQuery = { instance_id, component, request_id, user_id };
  const levels = levelsOf(level);
  if (levels.length > 0 && levels.length < LOG_LEVELS.length) {
    query.level = levels.join(',');
  }
  if (search.trim() !== '') {
    query.search = search.slice(0, SEARCH_MAX);
  }
  if (filters.period === CUSTOM_PERIOD) {
    if (isTime(from)) query.from = new Date(from).toISOString();
    if (isTime(to)) query.to = new Date(to).toISOString();
  } else if (period !== undefined && period.minutes > 0) {
    query.from = new Date(now.getTime() - period.minutes * MINUTE_MILLISECONDS).toISOString();
  }
  return query;
}

/** For `<input type="datetime-local">`, which speaks the time of this place, and not at all of its zone. */
export function localTimeOf(timestamp: string): string {
  if (!isTime(timestamp)) {
    return '';
  }
  const date = new Date(timestamp);
  return new Date(date.getTime() - date.getTimezoneOffset() * MINUTE_MILLISECONDS)
    .toISOString()
    .slice(0, 19);
}

export const timestampOfLocal = (text: string): string =>
  isTime(text) ? new Date(text).toISOString() : '';
