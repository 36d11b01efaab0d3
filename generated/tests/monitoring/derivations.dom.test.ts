// The parts without a page: the address, the derived numbers, units, and colours.
import { describe, expect, test } from 'vitest';
import {
  formatBucket,
  formatCost,
  formatCount,
  formatMilliseconds,
  formatMoment,
  formatPercent,
  formatTick,
} from '@/interfaces/monitoring/src/format';
import {
  bucketTimes,
  currentErrorRate,
  currentResponse,
  errorRates,
  latest,
  type Metrics,
  meanResponse,
  share,
} from '@/interfaces/monitoring/src/metrics';
import { chartColors, seriesColor, seriesDash } from '@/interfaces/monitoring/src/palette';
import { Refresher } from '@/interfaces/monitoring/src/refresher';
import { readSelection, writeSelection } from '@/interfaces/monitoring/src/selection';
import { tickIndexes } from '@/interfaces/monitoring/src/ticks';

const series = (id: string, requests: number[], errors: number[]) => ({
  instance_id: id,
  requests,
  errors,
  rate_limited: [0, 0, 0],
  response_ms: [null, null, null],
});

const METRICS: Metrics = {
  range: 'hour',
  from: '2026-03-01T10:00:00.000Z',
  to: '2026-03-01T10:03:00.000Z',
  bucket_seconds: 60,
  series: [series('a', [4, 0, 0], [1, 0, 0]), series('b', [0, 6, 0], [0, 3, 0])],
  totals: {
    requests: 10,
    errors: 4,
    rate_limited: 0,
    error_rate: 0.4,
    response_ms: null,
    cost_microdollars: 0,
  },
  providers: [],
};

describe('the address', () => {
  test.each([
    ['', { range: 'hour', instanceIds: [] }],
    ['?range=week', { range: 'week', instanceIds: [] }],
    ['?range=day&instance_id=a,b', { range: 'day', instanceIds: ['a', 'b'] }],
  ] as const)('"%s" is read and written alike', (search, selection) => {
    expect(readSelection(search)).toEqual(selection);
    expect(writeSelection({ ...selection, instanceIds: [...selection.instanceIds] })).toBe(search);
  });

  test('with an unknown range means the last hour', () => {
    expect(readSelection('?range=year').range).toBe('hour');
  });

  test('escapes what is no identifier', () => {
    const written = writeSelection({ range: 'hour', instanceIds: ['a&range=week'] });
    expect(readSelection(written)).toEqual({ range: 'hour', instanceIds: ['a&range=week'] });
  });
});

describe('derived numbers', () => {
  test('each bucket has its beginning', () => {
    expect(bucketTimes(METRICS).map((time) => new Date(time).toISOString())).toEqual([
      '2026-03-01T10:00:00.000Z',
      '2026-03-01T10:01:00.000Z',
      '2026-03-01T10:02:00.000Z',
    ]);
  });

  test('a share of nothing is no number', () => {
    expect(share(0, 0)).toBeNull();
    expect(share(1, 4)).toBe(0.25);
    expect(errorRates(series('a', [4, 0, 2], [1, 0, 0]))).toEqual([0.25, null, 0]);
  });

  test('the newest number is the last that there is', () => {
    expect(latest([1, 0, null])).toEqual({ index: 1, value: 0 });
    expect(latest([null, null])).toBeNull();
    expect(latest([])).toBeNull();
  });

  test('the current error rate joins the instances by their requests', () => {
    expect(currentErrorRate(METRICS)).toEqual({ index: 1, value: 0.5 });
    expect(currentErrorRate({ ...METRICS, series: [] })).toBeNull();
  });
});

describe('response times of several', () => {
  const timed = (id: string, requests: number[], refused: number[], means: (number | null)[]) => ({
    ...series(id, requests, [0, 0, 0]),
    rate_limited: refused,
    response_ms: means,
  });

  test('weigh by their answers: one slow request does not count as much as nine fast ones', () => {
    const joined = {
      ...METRICS,
      series: [
        timed('a', [0, 9, 0], [0, 0, 0], [null, 100, null]),
        timed('b', [5, 5, 3], [0, 4, 3], [500, 1100, null]),
      ],
    };
    expect(currentResponse(joined)).toEqual({ index: 1, value: 200 });
    expect(currentResponse({ ...METRICS, series: [] })).toBeNull();
  });

  test('weigh over the buckets of an instance too', () => {
    expect(meanResponse(timed('a', [3, 1, 7], [0, 0, 7], [100, 500, null]))).toBe(200);
    expect(meanResponse(timed('a', [3, 0, 0], [3, 0, 0], [null, null, null]))).toBeNull();
  });
});

describe('the time axis', () => {
  const timesOf = (count: number, seconds: number, end: Date) =>
    Array.from({ length: count }, (_, index) => end.getTime() - (count - index) * seconds * 1000);
  const clocks = (times: number[], range: 'hour' | 'day' | 'week', width: number) =>
    tickIndexes(times, range, width).map((index) => formatTick(times[index] ?? 0, range));

  test('of an hour names round minutes, fewer where there is less room', () => {
    const times = timesOf(60, 60, new Date(2026, 2, 3, 14, 59));
    expect(clocks(times, 'hour', 400)).toEqual([
      '14:00',
      '14:10',
      '14:20',
      '14:30',
      '14:40',
      '14:50',
    ]);

    expect(clocks(times, 'hour', 280)).toEqual(['14:00', '14:15', '14:30', '14:45']);
    expect(clocks(times, 'hour', 10)).toEqual(['14:00', '14:30']);
    expect(clocks(times, 'hour', 1200)).toHaveLength(12);
  });

  test('of a day names round hours', () => {
    const times = timesOf(96, 900, new Date(2026, 2, 3, 14, 45));
    expect(clocks(times, 'day', 480)).toEqual([
      '15:00',
      '18:00',
      '21:00',
      '00:00',
      '03:00',
      '06:00',
      '09:00',
      '12:00',
    ]);
  });

  test('of a week names each day once, where it begins', () => {
    const times = timesOf(168, 3600, new Date(2026, 2, 8, 15, 0));
    expect(clocks(times, 'week', 560)).toEqual([
      'Mon 2 Mar',
      'Tue 3 Mar',
      'Wed 4 Mar',
      'Thu 5 Mar',
      'Fri 6 Mar',
      'Sat 7 Mar',
      'Sun 8 Mar',
    ]);
    const few = tickIndexes(times, 'week', 320);
    expect(few.length).toBeLessThanOrEqual(4);
    for (const index of few) {
      expect(new Date(times[index] ?? 0).getHours()).toBe(0);
    }
  });
});

test('a second refresh while one runs asks for nothing', async () => {
  let loads = 0;
  const refresher = new Refresher(() => {
    loads += 1;
    return new Promise(() => {});
  });
  refresher.select({ range: 'hour', instanceIds: [] });
  refresher.select({ range: 'hour', instanceIds: [] });
  await refresher.refresh();
  expect(loads).toBe(1);
});

test('numbers have units and separators', () => {
  expect(formatCount(1_234_567)).toBe('1,234,567');
  expect(formatPercent(0.12345)).toBe('12.35 %');
  expect(formatMilliseconds(999.4)).toBe('999 ms');
  expect(formatMilliseconds(65_432)).toBe('65.43 s');
  expect([0, 250].map((value) => formatMilliseconds(value, 2000))).toEqual(['0 s', '0.25 s']);
  expect(formatCost(1_234_567_890)).toBe('$1,234.57');
  expect([formatCount(null), formatPercent(null), formatMilliseconds(null)]).toEqual(
    Array.from({ length: 3 }, () => '–'),
  );
});

test('times are of the reader’s zone, and tell the day where the range has several', () => {
  const time = new Date(2026, 2, 1, 14, 5).getTime();
  expect(formatTick(time, 'hour')).toBe('14:05');
  expect(formatTick(time, 'day')).toBe('14:05');
  expect(formatTick(time, 'week')).toBe('Sun 1 Mar');
  expect(formatMoment(time, 'hour')).toBe('14:05');
  expect(formatMoment(time, 'week')).toMatch(/^Sun,? 14:05$/);
  expect(formatBucket(time, 900)).toMatch(/^Sun,? 1 Mar,? 14:05 – 14:20$/);
});

describe('colours', () => {
  test('with their dashes tell 32 series apart, in both themes', () => {
    for (const dark of [false, true]) {
      const looks = Array.from({ length: 32 }, (_, index) =>
        [seriesColor(index, dark), seriesDash(index)].join(),
      );
      expect(new Set(looks).size).toBe(32);
    }
  });

  /** Relative luminance, as WCAG has it. */
  const luminance = (color: string): number => {
    const [red = 0, green = 0, blue = 0] = [1, 3, 5]
      .map((at) => Number.parseInt(color.slice(at, at + 2), 16) / 255)
      .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };

  test.each([false, true])('stand out from the surface, dark: %s', (dark) => {
    const background = luminance(chartColors(dark).surface);
    for (let index = 0; index < 8; index += 1) {
      const [low = 0, high = 0] = [luminance(seriesColor(index, dark)), background].sort(
        (a, b) => a - b,
      );
      expect((high + 0.05) / (low + 0.05)).toBeGreaterThanOrEqual(3);
    }
  });
});
