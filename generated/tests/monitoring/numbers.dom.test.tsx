// Each metric shows the numbers that it was given: on top, in its chart, in its legend and in its table.
import { screen } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { formatBucket } from '@/interfaces/monitoring/src/format';
import { Chart, chartOf } from './fake-chart';
import {
  begin,
  card,
  EMPTY,
  end,
  type FakeService,
  json,
  legend,
  METRICS,
  openDashboard,
  pass,
  rowsOf,
  seriesOf,
  tableOf,
  tile,
} from './support';

vi.mock('chart.js', () => import('./fake-chart'));

let service: FakeService;

beforeEach(() => {
  service = begin();
});
afterEach(end);

const clock = (minutes: string) =>
  new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' }).format(
    new Date(`2026-03-01T10:${minutes}:00.000Z`),
  );

/** What the newest buckets of each instance have in a chart. */
const endsOf = (title: string, count = 3) =>
  Object.fromEntries(
    chartOf(title).data.datasets.map(({ label, data }) => [label, data.slice(-count)]),
  );

describe('the numbers on top', () => {
  test('are the totals, with units and separators', async () => {
    await openDashboard(service);
    expect(tile('Requests')).toEqual(['1,506', 'answers to POST /generate']);
    expect(tile('Error rate')).toEqual(['0.27 %', `now 0.99 %, at ${clock('59')}`]);
    expect(tile('Average response time')).toEqual([
      '2.03 s',
      // 297 answers of production in 2200 ms, 2 of development in 812.5 ms.
      `now about 2.19 s, at ${clock('59')}`,
    ]);
    expect(tile('Rate limit hits')).toEqual(['21', 'refused with 429; no errors']);
    expect(tile('Estimated cost')).toEqual(['$118.24', 'from recorded usage']);
  });

  test('have the current response time of a single instance', async () => {
    service.metrics = () => json(200, { ...METRICS, series: METRICS.series.slice(0, 1) });
    await openDashboard(service);
    expect(tile('Average response time')).toEqual(['2.03 s', `now 813 ms, at ${clock('59')}`]);
  });

  test('are no numbers where there is nothing to share or to average', async () => {
    service.metrics = () => json(200, EMPTY);
    await openDashboard(service);
    expect(tile('Requests')[0]).toBe('0');
    expect(tile('Error rate')).toEqual(['–', 'no requests']);
    expect(tile('Average response time')).toEqual(['–', 'nothing was generated']);
    expect(tile('Estimated cost')[0]).toBe('$0.00');
  });
});

describe('a chart over time', () => {
  test('of requests has each instance and each bucket', async () => {
    await openDashboard(service);
    const { type, data } = chartOf('Requests');
    expect(type).toBe('line');
    expect(data.labels).toHaveLength(60);
    expect(data.labels[0]).toBe(clock('00'));
    expect(data.labels[59]).toBe(clock('59'));
    expect(endsOf('Requests')).toEqual({
      'The development': [4, 0, 2],
      'The production': [1000, 200, 300],
      'The staging': [0, 0, 0],
    });
    expect(legend('Requests')).toEqual([
      'The development 6',
      'The production 1,500',
      'The staging no traffic',
    ]);
  });

  test('of error rates has no value where there were no requests', async () => {
    await openDashboard(service);
    expect(endsOf('Error rate')).toEqual({
      'The development': [0.25, null, 0],
      'The production': [0, 0, 0.01],
      'The staging': [null, null, null],
    });
    expect(legend('Error rate')).toEqual([
      `The development 0 % at ${clock('59')}`,
      `The production 1 % at ${clock('59')}`,
      'The staging no traffic',
    ]);
  });

  test('of response times has no value where nothing was generated', async () => {
    await openDashboard(service);
    expect(endsOf('Average response time')).toEqual({
      'The development': [1500, null, 812.5],
      'The production': [2000, 2100, 2200],
      'The staging': [null, null, null],
    });
    expect(legend('Average response time')[0]).toBe(`The development 813 ms at ${clock('59')}`);
  });

  test('of rate limit hits has bars', async () => {
    await openDashboard(service);
    expect(chartOf('Rate limit hits').type).toBe('bar');
    expect(endsOf('Rate limit hits')).toMatchObject({
      'The development': [1, 0, 0],
      'The production': [0, 20, 0],
    });
    expect(legend('Rate limit hits')[1]).toBe('The production 20');
  });

  test('says its numbers to those who do not see it, and has them as a table', async () => {
    await openDashboard(service);
    expect(chartOf('Requests').canvas.getAttribute('role')).toBe('img');
    expect(chartOf('Requests').canvas.getAttribute('aria-label')).toContain('production 1,500');
    const [head, newest, before, ...others] = tableOf('Error rate');
    const bucket = (minutes: string) =>
      formatBucket(Date.parse(`2026-03-01T10:${minutes}:00.000Z`), 60);
    expect(head).toEqual(['Time', 'The development', 'The production', 'The staging']);
    expect(newest).toEqual([bucket('59'), '0 %', '1 %', '–']);
    expect(before).toEqual([bucket('58'), '–', '0 %', '–']);
    expect(others).toHaveLength(58);
  });

  test('shows a value between two gaps as a point, and only that', async () => {
    await openDashboard(service);
    const radii = (label: string) => {
      const dataset = chartOf('Average response time').data.datasets.find(
        (candidate) => candidate.label === label,
      );
      return [57, 58, 59].map((dataIndex) => dataset?.pointRadius?.({ dataset, dataIndex }));
    };
    expect(radii('The production')).toEqual([0, 0, 0]);
    expect(radii('The development')[2]).toBe(3);
  });

  test('has its units at the axis and under the pointer', async () => {
    await openDashboard(service);
    const { data, options } = chartOf('Error rate');
    const [dataset] = data.datasets;
    if (dataset === undefined) {
      throw new Error('The chart has no line.');
    }
    const { title, label } = options.plugins.tooltip.callbacks;
    expect(options.scales?.y.ticks.callback(0.5, 1, [{ value: 0 }, { value: 0.5 }])).toBe('50 %');
    expect(title?.([{ dataIndex: 59 }])).toBe(
      formatBucket(Date.parse('2026-03-01T10:59:00.000Z'), 60),
    );
    expect(label({ dataset, parsed: { y: 0.25 } })).toBe(' The development: 25 %');
    const pie = chartOf('Usage by provider').options.plugins.tooltip.callbacks;
    expect(pie.label({ dataset, parsed: 1200 })).toBe(' 1,200 generations');
  });

  test('names round times below and one unit beside', async () => {
    await openDashboard(service);
    const scales = chartOf('Average response time').options.scales;
    const axis = { width: 560, ticks: [] as { value: number }[] };
    scales?.x.afterBuildTicks(axis);
    expect(axis.ticks.map(({ value }) => value % 5)).toEqual(axis.ticks.map(() => 0));
    expect(axis.ticks.length).toBeGreaterThan(4);
    const ticks = [0, 500, 1000, 1500].map((value) => ({ value }));
    const label = scales?.y.ticks.callback;
    expect(ticks.map(({ value }, index) => label?.(value, index, ticks))).toEqual([
      '0 s',
      '0.5 s',
      '1 s',
      '1.5 s',
    ]);
  });

  test('without anything in it says so in place of a broken chart', async () => {
    service.metrics = () => json(200, EMPTY);
    await openDashboard(service);
    for (const { canvas } of Chart.made) {
      expect(canvas.className).toBe('invisible');
    }
    expect(card('Requests').textContent).toContain('No requests in this time.');
    expect(card('Average response time').textContent).toContain('Nothing was generated');
    expect(card('Rate limit hits').textContent).toContain('No requests in this time.');
    expect(legend('Requests')).toContain('The production no traffic');
  });

  test('of errors is drawn if there was traffic and no error', async () => {
    const series = [seriesOf('production', [5], [0], [0], [900])];
    service.metrics = () => json(200, { ...METRICS, series });
    await openDashboard(service);
    expect(endsOf('Error rate', 1)).toEqual({ 'The production': [0] });
    expect(chartOf('Error rate').canvas.className).toBe('');
    expect(card('Rate limit hits').textContent).toContain('Nothing was refused in this time.');
  });

  test.each([
    ['day', 96, 900],
    ['week', 168, 3600],
  ] as const)('of a %s has %i buckets', async (range, count, seconds) => {
    const to = Date.parse('2026-03-01T11:00:00.000Z');
    service.metrics = () =>
      json(200, {
        ...METRICS,
        range,
        bucket_seconds: seconds,
        from: new Date(to - count * seconds * 1000).toISOString(),
        series: [seriesOf('production', [7], [0], [0], [900], count)],
      });
    await openDashboard(service, `/?range=${range}`);
    expect(chartOf('Requests').data.labels).toHaveLength(count);
    expect(chartOf('Requests').data.datasets[0]?.data).toHaveLength(count);
    expect(tableOf('Requests')).toHaveLength(count + 1);
  });
});

describe('usage and cost', () => {
  test('by provider is a pie with shares, and a table', async () => {
    await openDashboard(service);
    const { type, data } = chartOf('Usage by provider');
    expect(type).toBe('pie');
    expect(data.labels).toEqual(['ideogram', 'other']);
    expect(data.datasets[0]?.data).toEqual([1200, 300]);
    expect(legend('Usage by provider')).toEqual([
      'ideogram 80 % 1,200 generations',
      'other 20 % 300 generations',
    ]);
    expect(tableOf('Usage by provider')).toEqual([
      ['Provider', 'Generations', 'Share', 'Tokens'],
      ['ideogram', '1,200', '80 %', '0'],
      ['other', '300', '20 %', '12,345'],
    ]);
  });

  test('by provider is in dollars, marked as an estimate', async () => {
    await openDashboard(service);
    expect(rowsOf(card('Estimated cost')).slice(1)).toEqual([
      ['ideogram', '$96.00', '81.19 %'],
      ['other', '$22.24', '18.81 %'],
    ]);
    expect(card('Estimated cost').textContent).toContain('the bill decides');
  });

  test('of nothing says so', async () => {
    service.metrics = () => json(200, EMPTY);
    await openDashboard(service);
    expect(card('Usage by provider').textContent).toContain('Nothing was generated');
    expect(card('Estimated cost').textContent).toContain('Nothing was charged');
  });

  test('below a dollar keeps what is smaller than a cent', async () => {
    const totals = { ...METRICS.totals, cost_microdollars: 82_500 };
    service.metrics = () => json(200, { ...METRICS, totals });
    await openDashboard(service);
    expect(tile('Estimated cost')[0]).toBe('$0.0825');
  });
});

test('the instances are compared, one without traffic as such', async () => {
  await openDashboard(service);
  expect(rowsOf(card('Instances')).slice(1)).toEqual([
    // 2 answers of 1500 ms and 2 of 812.5 ms; the one that failed and the one that was refused count for neither.
    ['The development', '6', '1', '16.67 %', '1', '1.16 s'],
    ['The production', '1,500', '3', '0.2 %', '20', '2.05 s'],
    ['The staging', 'no traffic'],
  ]);
});

test('an organisation without instances is told so', async () => {
  service.instances = () => json(200, { items: [], next_cursor: null });
  service.metrics = () => json(200, { ...EMPTY, series: [] });
  await openDashboard(service);
  expect(screen.getByText(/There are no instances yet/)).toBeTruthy();
});

test('names with HTML in them stay text', async () => {
  const evil = '<img src=x onerror=alert(1)>';
  service.metrics = () =>
    json(200, {
      ...METRICS,
      series: [seriesOf(evil, [5], [1], [0], [900])],
      providers: [{ provider: evil, requests: 1, tokens: 0, cost_microdollars: 1 }],
    });
  await openDashboard(service);
  expect(legend('Requests')).toEqual([`${evil} 5`]);
  expect(document.querySelector('img[src="x"]')).toBeNull();
});

describe('an instance', () => {
  const colorOf = (title: string, label: string) =>
    chartOf(title).data.datasets.find((dataset) => dataset.label === label)?.borderColor;

  test('keeps its colour and its dashes whatever the filter leaves', async () => {
    await openDashboard(service);
    const swatch = () =>
      [...card('Requests').querySelectorAll('li')]
        .find((item) => item.textContent?.includes('The production'))
        ?.querySelector('path')?.outerHTML;
    const before = { color: colorOf('Requests', 'The production'), swatch: swatch() };
    expect(before.color).toBeTruthy();
    expect(before.color).not.toBe(colorOf('Requests', 'The development'));
    service.metrics = () => json(200, { ...METRICS, series: METRICS.series.slice(1, 2) });
    await pass(30_000);
    expect(legend('Requests')).toEqual(['The production 1,500']);
    expect({ color: colorOf('Requests', 'The production'), swatch: swatch() }).toEqual(before);
  });

  test('has its name; its identifier too if another has the same', async () => {
    const named = (id: string, name: string) => ({ instance_id: id, name });
    service.instances = () =>
      json(200, {
        items: [
          named('development', 'Painter'),
          named('production', 'Painter'),
          named('staging', 'Rehearsal'),
        ],
        next_cursor: null,
      });
    await openDashboard(service);
    expect(legend('Requests')).toEqual([
      'Painter (development) 6',
      'Painter (production) 1,500',
      'Rehearsal no traffic',
    ]);
  });

  test('that nobody named yet has its identifier, and a colour of its own', async () => {
    service.metrics = () =>
      json(200, { ...METRICS, series: [...METRICS.series, seriesOf('zebra', [1])] });
    await openDashboard(service);
    expect(legend('Requests').at(-1)).toBe('zebra 1');
    const colors = chartOf('Requests').data.datasets.map(({ borderColor }) => borderColor);
    expect(new Set(colors).size).toBe(4);
  });
});

describe('a page that is left open', () => {
  test('keeps the charts it has when data come into them and when they go', async () => {
    service.metrics = () => json(200, EMPTY);
    await openDashboard(service);
    const made = [...Chart.made];
    const canvases = [...document.querySelectorAll('canvas')];
    expect(canvases).toHaveLength(5);
    for (const answer of [METRICS, EMPTY, METRICS]) {
      service.metrics = () => json(200, answer);
      await pass(30_000);
    }
    expect(Chart.made).toEqual(made);
    expect([...document.querySelectorAll('canvas')]).toEqual(canvases);
    expect(made.some(({ destroyed }) => destroyed)).toBe(false);
    expect(canvases.every(({ className }) => className === '')).toBe(true);
    expect(endsOf('Requests')['The production']).toEqual([1000, 200, 300]);
  });

  test('changes its charts and makes no others, and its data stay bounded', async () => {
    const { unmount } = await openDashboard(service);
    const made = [...Chart.made];
    expect(made).toHaveLength(5);
    for (let round = 0; round < 6; round += 1) {
      await pass(30_000);
    }
    expect(service.asked).toHaveLength(7);
    expect(Chart.made).toEqual(made);
    expect(chartOf('Requests').updates).toBe(6);
    expect(chartOf('Requests').data.labels).toHaveLength(60);
    expect(chartOf('Requests').data.datasets).toHaveLength(3);
    unmount();
    expect(made.every(({ destroyed }) => destroyed)).toBe(true);
  });

  test('shows new numbers in the charts it has', async () => {
    await openDashboard(service);
    const series = [seriesOf('production', [77], [7], [7], [777])];
    service.metrics = () => json(200, { ...METRICS, series });
    await pass(30_000);
    expect(endsOf('Requests', 1)).toEqual({ 'The production': [77] });
    expect(legend('Requests')).toEqual(['The production 77']);
  });
});
