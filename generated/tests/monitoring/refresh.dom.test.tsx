// Filters and freshness: what is asked for, and when.
import { act, fireEvent, screen } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { formatClock } from '@/interfaces/monitoring/src/format';
import {
  begin,
  end,
  type FakeService,
  json,
  METRICS,
  NOW,
  open,
  openDashboard,
  pass,
  press,
  refusal,
  setHidden,
  settle,
  tile,
} from './support';

vi.mock('chart.js', () => import('./fake-chart'));

let service: FakeService;

beforeEach(() => {
  service = begin();
});
afterEach(end);

const choose = async (label: string | RegExp) => {
  fireEvent.click(screen.getByLabelText(label));
  await settle();
};
const withRequests = (requests: number) =>
  json(200, { ...METRICS, totals: { ...METRICS.totals, requests } });
const timeAfter = (seconds: number) => formatClock(Date.parse(NOW) + seconds * 1000);
const notice = () => screen.getAllByRole('status').map(({ textContent }) => textContent);

describe('the filters', () => {
  test('start with the last hour of all instances', async () => {
    await openDashboard(service);
    expect(service.asked).toEqual([{ range: 'hour' }]);
    expect(location.search).toBe('');
    expect(screen.getByText('All instances (3)')).toBeTruthy();
  });

  test('of time changes the request and the address', async () => {
    await openDashboard(service);
    await choose('Last day');
    await choose('Last week');
    expect(service.asked.slice(1)).toEqual([{ range: 'day' }, { range: 'week' }]);
    expect(location.search).toBe('?range=week');
  });

  test('of instances takes one, several and all', async () => {
    await openDashboard(service);
    await choose(/^The production/);
    await choose(/^The development/);
    expect(location.search).toBe('?instance_id=development,production');
    expect(screen.getByText('2 instances')).toBeTruthy();
    await choose(/^The production/);
    expect(screen.getAllByText('The development')[0]).toBeTruthy();
    await choose('All instances');
    expect(service.asked.slice(1)).toEqual([
      { range: 'hour', instance_id: 'production' },
      { range: 'hour', instance_id: 'development,production' },
      { range: 'hour', instance_id: 'development' },
      { range: 'hour' },
    ]);
  });

  test('come from the address, whose nonsense is ignored', async () => {
    await openDashboard(service, '/?range=day&instance_id=production,,production');
    expect(service.asked).toEqual([{ range: 'day', instance_id: 'production' }]);
    expect(screen.getByLabelText('Last day')).toHaveProperty('checked', true);
  });

  test('follow the browser back', async () => {
    await openDashboard(service);
    await choose('Last day');
    history.replaceState(null, '', '/?range=week');
    act(() => {
      dispatchEvent(new Event('popstate'));
    });
    await settle();
    expect(service.asked.at(-1)).toEqual({ range: 'week' });
  });

  test('drop what was under way for the selection before', async () => {
    await openDashboard(service);
    service.metrics = () => 'silent';
    await choose('Last day');
    service.metrics = () => withRequests(77);
    await choose('Last week');
    expect(tile('Requests')[0]).toBe('77');
    await pass(15_000);
    expect(tile('Requests')[0]).toBe('77');
    expect(service.asked).toHaveLength(3);
  });

  test('never show old numbers as those of a new selection that failed', async () => {
    await openDashboard(service);
    service.metrics = () => refusal(500, 'INTERNAL_ERROR');
    await choose('Last day');
    expect(screen.getByRole('alert').textContent).toContain('answered with 500');
    expect(screen.queryByRole('heading', { name: 'Requests' })).toBeNull();
  });

  test('with an unknown instance lead back to all', async () => {
    service.metrics = () => refusal(404, 'NOT_FOUND');
    await openDashboard(service, '/?instance_id=gone');
    expect(screen.getByRole('alert').textContent).toContain('No such instance');
    service.metrics = () => json(200, METRICS);
    await press('Show all instances');
    expect(service.asked.at(-1)).toEqual({ range: 'hour' });
    expect(tile('Requests')[0]).toBe('1,506');
  });

  test('of instances close with Escape and with a press elsewhere', async () => {
    await openDashboard(service);
    const details = screen.getByText('All instances (3)').closest('details');
    const summary = details?.querySelector('summary');
    if (details == null || summary == null) {
      throw new Error('The filter is missing.');
    }
    details.open = true;
    fireEvent.keyDown(screen.getByLabelText(/^The production/), { key: 'a' });
    expect(details.open).toBe(true);
    fireEvent.keyDown(screen.getByLabelText(/^The production/), { key: 'Escape' });
    expect(details.open).toBe(false);
    expect(document.activeElement).toBe(summary);
    details.open = true;
    fireEvent.pointerDown(summary);
    expect(details.open).toBe(true);
    fireEvent.pointerDown(document.body);
    expect(details.open).toBe(false);
  });
});

describe('refreshing', () => {
  test('happens every 30 seconds, with the time of the last one', async () => {
    await openDashboard(service);
    expect(screen.getByText(`Updated at ${timeAfter(0)}`)).toBeTruthy();
    await pass(29_999);
    expect(service.asked).toHaveLength(1);
    service.metrics = () => withRequests(2_000);
    await pass(1);
    expect(service.asked).toHaveLength(2);
    expect(tile('Requests')[0]).toBe('2,000');
    expect(screen.getByText(`Updated at ${timeAfter(30)}`)).toBeTruthy();
  });

  test('happens by the button, which begins the 30 seconds anew', async () => {
    await openDashboard(service);
    await pass(20_000);
    await press('Refresh');
    expect(service.asked).toHaveLength(2);
    await pass(29_999);
    expect(service.asked).toHaveLength(2);
    await pass(1);
    expect(service.asked).toHaveLength(3);
  });

  test('can be paused and resumed; the button still works', async () => {
    await openDashboard(service);
    await press('Pause');
    await pass(120_000);
    expect(service.asked).toHaveLength(1);
    expect(screen.getByText(`Updated at ${timeAfter(0)} · paused`)).toBeTruthy();
    await press('Refresh');
    expect(service.asked).toHaveLength(2);
    await pass(60_000);
    expect(service.asked).toHaveLength(2);
    await press('Resume');
    expect(service.asked).toHaveLength(3);
  });

  test('rests while the page is hidden, and is made up for when it is seen again', async () => {
    await openDashboard(service);
    act(() => setHidden(true));
    await pass(300_000);
    expect(service.asked).toHaveLength(1);
    act(() => setHidden(false));
    await settle();
    expect(service.asked).toHaveLength(2);
  });

  test('does not happen early because the page was hidden for a moment', async () => {
    await openDashboard(service);
    await pass(10_000);
    act(() => setHidden(true));
    act(() => setHidden(false));
    await pass(19_999);
    expect(service.asked).toHaveLength(1);
    await pass(1);
    expect(service.asked).toHaveLength(2);
  });

  test('never overlaps: a slow one is waited for', async () => {
    await openDashboard(service);
    service.metrics = () => 'silent';
    await pass(30_000);
    expect(service.asked).toHaveLength(2);
    expect(screen.getByText(`Refreshing… last at ${timeAfter(0)}`)).toBeTruthy();
    expect(screen.getByRole('button', { name: 'Refresh' })).toHaveProperty('disabled', true);
    act(() => setHidden(true));
    act(() => setHidden(false));
    await pass(14_999);
    expect(service.asked).toHaveLength(2);
    // The time limit ends it, and the next one is 30 seconds later.
    await pass(1);
    expect(notice().join()).toContain('did not answer within 15 seconds');
    await pass(30_000);
    expect(service.asked).toHaveLength(3);
  });

  test('that fails keeps the last good numbers and says that they are old; then recovers', async () => {
    await openDashboard(service);
    service.metrics = () => refusal(500, 'INTERNAL_ERROR');
    await pass(30_000);
    expect(tile('Requests')[0]).toBe('1,506');
    expect(notice()).toEqual([
      `The last refresh failed. why INTERNAL_ERROR These are the numbers of ${timeAfter(0)}.`,
    ]);
    service.metrics = () => withRequests(3_000);
    await pass(30_000);
    expect(tile('Requests')[0]).toBe('3,000');
    expect(screen.queryAllByRole('status')).toEqual([]);
  });

  test('that fails at first shows why and can be tried again', async () => {
    service.metrics = () => 'unreachable';
    await openDashboard(service);
    expect(screen.getByRole('alert').textContent).toContain('The metrics cannot be loaded');
    service.metrics = () => json(200, METRICS);
    await press('Try again');
    expect(tile('Requests')[0]).toBe('1,506');
  });

  test.each(['<html>', '{}', '{"from":"x","bucket_seconds":60,"series":[]}'])(
    'that brings %s is a failure, no chart',
    async (body) => {
      service.metrics = () => json(200, body);
      await openDashboard(service);
      expect(screen.getByRole('alert').textContent).toContain('The answer of the Config Service');
    },
  );

  const [SERIES] = METRICS.series;
  const withSeries = (change: object) => ({ ...METRICS, series: [{ ...SERIES, ...change }] });
  test.each([
    ['a text for a number', withSeries({ requests: SERIES?.requests.map(String) })],
    ['null for a count', withSeries({ errors: SERIES?.errors.map(() => null) })],
    ['no numbers', withSeries({ rate_limited: undefined })],
    ['fewer numbers than buckets', withSeries({ response_ms: [1, 2, 3] })],
    ['a negative count', withSeries({ requests: SERIES?.requests.map(() => -1) })],
    ['no identifier', withSeries({ instance_id: null })],
    ['a series that is none', { ...METRICS, series: [null] }],
    ['no totals', { ...METRICS, totals: {} }],
    ['a total that is a text', { ...METRICS, totals: { ...METRICS.totals, response_ms: 'fast' } }],
    ['a provider without numbers', { ...METRICS, providers: [{ provider: 'ideogram' }] }],
    ['a time that is none', { ...METRICS, from: 'yesterday' }],
    ['an end before the beginning', { ...METRICS, to: '2026-03-01T09:00:00.000Z' }],
    ['buckets of no length', { ...METRICS, bucket_seconds: 0 }],
    ['buckets without end', { ...METRICS, series: [], to: '9999-12-31T00:00:00.000Z' }],
    ['an unknown range', { ...METRICS, range: 'year' }],
  ])('that brings %s is a failure, no chart and no NaN', async (_, body) => {
    service.metrics = () => json(200, body);
    await openDashboard(service);
    expect(screen.getByRole('alert').textContent).toContain('holds no metrics');
    expect(document.body.textContent).not.toContain('NaN');
    service.metrics = () => json(200, METRICS);
    await press('Try again');
    expect(tile('Requests')[0]).toBe('1,506');
  });

  test('shows that it loads before there is anything', async () => {
    service.metrics = () => 'silent';
    await openDashboard(service);
    expect(notice()).toEqual(['Loading the metrics…']);
    expect(screen.getByText('Loading…')).toBeTruthy();
  });

  test('ends with the page', async () => {
    const { unmount } = await openDashboard(service);
    unmount();
    await pass(120_000);
    expect(service.asked).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
    await open(service);
  });
});
