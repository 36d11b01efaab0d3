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
    expect(tile('Average response time')).toEqual(['2.03 s', 'of successful generations']);
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
      development: [4, 0, 2],
      production: [1000, 200, 300],
      staging: [0, 0, 0],
    });
    expect(legend('Requests')).toEqual(['development 6', 'production 1,500', 'staging no traffic']);
  });

  test('of error rates has no value where there were no requests', async () => {
    await openDashboard(service);
    expect(endsOf('Error rate')).toEqual({
      development: [0.25, null, 0],
      production: [0, 0, 0.01],
      staging: [null, null, null],
    });
    expect(legend('Error rate')).toEqual([
      `development 0 % at ${clock('59')}`,
      `production 1 % at ${clock('59')}`,
      'staging no traffic',
    ]);
  });

  test('of response times has no value where nothing was generated', async () => {
    await openDashboard(service);
    expect(endsOf('Average response time')).toEqual({
      development: [1500, null, 812.5],
      production: [2000, 2100, 2200],
      staging: [null, null, null],
    });
    expect(legend('Average response time')[0]).toBe(`development 813 ms at ${clock('59')}`);
  });

  test('of rate limit hits has bars', async () => {
    await openDashboard(service);
    expect(chartOf('Rate limit hits').type).toBe('bar');
    expect(endsOf('Rate limit hits')).toMatchObject({
      development: [1, 0, 0],
      production: [0, 20, 0],
    });
    expect(legend('Rate limit hits')[1]).toBe('production 20');
  });

  test('says its numbers to those who do not see it, and has them as a table', async () => {
    await openDashboard(service);
    expect(chartOf('Requests').canvas.getAttribute('role')).toBe('img');
    expect(chartOf('Requests').canvas.getAttribute('aria-label')).toContain('production 1,500');
    const [head, newest, before, ...others] = tableOf('Error rate');
    const bucket = (minutes: string) =>
      formatBucket(Date.parse(`2026-03-01T10:${minutes}:00.000Z`), 60);
    expect(head).toEqual(['Time', 'development', 'production', 'staging']);
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
    expect(radii('production')).toEqual([0, 0, 0]);
    expect(radii('development')[2]).toBe(3);
  });

  test('has its units at the axis and under the pointer', async () => {
    await openDashboard(service);
    const { data, options } = chartOf('Error rate');
    const [dataset] = data.datasets;
    if (dataset === undefined) {
      throw new Error('The chart has no line.');
    }
    const { title, label } = options.plugins.tooltip.callbacks;
    expect(options.scales?.y.ticks.callback(0.5)).toBe('50 %');
    expect(title?.([{ dataIndex: 59 }])).toBe(
      formatBucket(Date.parse('2026-03-01T10:59:00.000Z'), 60),
    );
    expect(label({ dataset, parsed: { y: 0.25 } })).toBe(' development: 25 %');
    const pie = chartOf('Usage by provider').options.plugins.tooltip.callbacks;
    expect(pie.label({ dataset, parsed: 1200 })).toBe(' 1,200 generations');
  });

  test('without anything in it says so in place of a broken chart', async () => {
    service.metrics = () => json(200, EMPTY);
    await openDashboard(service);
    expect(Chart.made).toEqual([]);
    expect(card('Requests').textContent).toContain('No requests in this time.');
    expect(card('Average response time').textContent).toContain('Nothing was generated');
    expect(card('Rate limit hits').textContent).toContain('No requests in this time.');
    expect(legend('Requests')).toContain('production no traffic');
  });

  test('of errors is drawn if there was traffic and no error', async () => {
    const series = [seriesOf('production', [5], [0], [0], [900])];
    service.metrics = () => json(200, { ...METRICS, series });
    await openDashboard(service);
    expect(endsOf('Error rate', 1)).toEqual({ production: [0] });
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
    ['development', '6', '1', '16.67 %', '1', '813 ms'],
    ['production', '1,500', '3', '0.2 %', '20', '2.2 s'],
    ['staging', 'no traffic'],
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

describe('a page that is left open', () => {
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
    expect(endsOf('Requests', 1)).toEqual({ production: [77] });
    expect(legend('Requests')).toEqual(['production 77']);
  });
});
