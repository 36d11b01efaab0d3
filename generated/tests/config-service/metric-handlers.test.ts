// GET /metrics: pieces of time without gaps, what counts as what, and who sees which instances.
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { insertUsageLog } from '@/infrastructure/database/queries';
import { fillLogs, type LogFixture, withoutLogs } from './log-support';
import { errorBody, IDS, startService, type TestService } from './support';

let service: TestService;

interface Metrics {
  range: string;
  from: string;
  to: string;
  bucket_seconds: number;
  series: {
    instance_id: string;
    requests: number[];
    errors: number[];
    rate_limited: number[];
    response_ms: (number | null)[];
  }[];
  totals: Record<string, number | null>;
  providers: object[];
}

// The service's clock stands at 10:00:00 on the first of March.
const NOW = Date.parse('2026-03-01T10:00:00.000Z');
let count = 0;

/** An entry as the Worker leaves one for each answer, so many seconds ago. */
function request(
  secondsAgo: number,
  status: number,
  fields: { duration_ms?: number; instance_id?: string; metadata?: object } = {},
): LogFixture {
  count += 1;
  const { duration_ms = 100, instance_id = 'production', metadata = {} } = fields;
  return {
    log_id: `log-${count}`,
    timestamp: new Date(NOW - secondsAgo * 1000).toISOString(),
    instance_id,
    metadata: { event: 'request', route: '/generate', status, duration_ms, ...metadata },
  };
}

async function use(secondsAgo: number, fields: object = {}): Promise<void> {
  count += 1;
  await insertUsageLog(env.DB, {
    log_id: `usage-${count}`,
    org_id: 'example-org',
    instance_id: 'production',
    project_id: null,
    user_id: null,
    request_id: 'r',
    timestamp: new Date(NOW - secondsAgo * 1000).toISOString(),
    provider: 'ideogram',
    model: null,
    tokens_used: 0,
    cost: 80_000,
    created_at: new Date(NOW).toISOString(),
    ...fields,
  });
}

type Caller = Parameters<TestService['call']>[0];

async function metricsOf(query = '', caller: Caller = 'admin'): Promise<Metrics> {
  const { status, body } = await service.call(caller, 'GET', `/metrics${query}`);
  expect(status).toBe(200);
  return body as unknown as Metrics;
}

beforeEach(async () => {
  service = await startService();
  await fillLogs([]);
});

describe('who', () => {
  test.each(['user', 'project', 'service'] as const)('%s may not', async (caller) => {
    const answer = await service.call(caller, 'GET', '/metrics');
    expect([answer.status, answer.body]).toEqual([403, errorBody('FORBIDDEN')]);
  });

  const instancesOf = async (query: string, caller: Caller) =>
    (await metricsOf(query, caller)).series.map(({ instance_id }) => instance_id);

  test('without a choice all within reach, sorted, also without traffic', async () => {
    expect(await instancesOf('', 'admin')).toEqual(['development', 'production']);
    expect(await instancesOf('', 'otherAdmin')).toEqual(['acme-main']);
    expect(await instancesOf('', 'superadmin')).toEqual(['acme-main', 'development', 'production']);
  });

  test('one or several, each once', async () => {
    expect(await instancesOf('?instance_id=production', 'admin')).toEqual(['production']);
    const query = '?instance_id=production,development,production';
    expect(await instancesOf(query, 'admin')).toEqual(['development', 'production']);
  });

  test.each([
    [`?instance_id=production,${IDS.otherInstanceId}`, 403],
    ['?instance_id=production,none', 404],
    [`?instance_id=${IDS.otherInstanceId},none`, 404],
    ['?instance_id=', 404],
    ['?range=month', 400],
    ['?range=', 400],
    ['?range=month&instance_id=none', 400],
  ])('%s is %d', async (query, status) => {
    expect((await service.call('admin', 'GET', `/metrics${query}`)).status).toBe(status);
  });
});

describe('pieces of time', () => {
  test.each([
    ['', 'hour', 60, 60, '2026-03-01T09:01:00.000Z', '2026-03-01T10:01:00.000Z'],
    ['?range=hour', 'hour', 60, 60, '2026-03-01T09:01:00.000Z', '2026-03-01T10:01:00.000Z'],
    ['?range=day', 'day', 96, 900, '2026-02-28T10:15:00.000Z', '2026-03-01T10:15:00.000Z'],
    ['?range=week', 'week', 168, 3600, '2026-02-22T11:00:00.000Z', '2026-03-01T11:00:00.000Z'],
  ])('%s: the last one holds the present', async (query, range, buckets, seconds, from, to) => {
    const metrics = await metricsOf(query);
    expect(metrics).toMatchObject({ range, from, to, bucket_seconds: seconds });
    for (const series of metrics.series) {
      expect(series.requests).toEqual(Array(buckets).fill(0));
      expect(series.errors).toEqual(Array(buckets).fill(0));
      expect(series.rate_limited).toEqual(Array(buckets).fill(0));
      expect(series.response_ms).toEqual(Array(buckets).fill(null));
    }
  });

  test('they begin at whole multiples of their length', async () => {
    service.clock.now = new Date('2026-03-01T10:07:31.500Z');
    expect(await metricsOf('?range=day')).toMatchObject({
      from: '2026-02-28T10:15:00.000Z',
      to: '2026-03-01T10:15:00.000Z',
    });
  });

  test('an entry is in the piece that holds its time, to the millisecond', async () => {
    service.clock.now = new Date('2026-03-01T10:00:59.999Z');
    await fillLogs([
      request(59 * 60 + 0.001, 200), // 09:00:59.999: before the window
      request(59 * 60, 200), // its first millisecond
      request(0.001, 200), // 09:59:59.999
      request(0, 200), // 10:00:00.000
      request(-59.999, 200), // 10:00:59.999: its last
      request(-60, 200), // after it
    ]);
    const [series] = (await metricsOf('?instance_id=production')).series;
    expect(series?.requests).toEqual([1, ...Array(57).fill(0), 1, 2]);
  });
});

describe('what counts', () => {
  test('requests, errors, limits and times, for each instance and in all', async () => {
    await fillLogs([
      request(0, 200, { duration_ms: 800 }),
      request(0, 200, { duration_ms: 825 }),
      request(0, 502, { duration_ms: 9000 }),
      request(0, 429, { duration_ms: 1 }),
      request(60, 499),
      request(60, 500),
      request(60, 504),
      request(0, 200, { duration_ms: 100, instance_id: 'development' }),
      request(0, 200, { instance_id: IDS.otherInstanceId }),
    ]);
    const { series, totals } = await metricsOf();
    expect(series.map((one) => ({ ...one, requests: one.requests.slice(-2) }))).toMatchObject([
      { instance_id: 'development', requests: [0, 1] },
      { instance_id: 'production', requests: [3, 4] },
    ]);
    const production = series[1];
    expect(production?.errors.slice(-2)).toEqual([2, 1]);
    expect(production?.rate_limited.slice(-2)).toEqual([0, 1]);
    expect(production?.response_ms.slice(-2)).toEqual([null, 812.5]);
    expect(totals).toEqual({
      requests: 8,
      errors: 3,
      rate_limited: 1,
      error_rate: 0.375,
      response_ms: 575,
      cost_microdollars: 0,
    });
  });

  test('rates have four places, times one', async () => {
    await fillLogs([
      request(0, 500),
      request(0, 200, { duration_ms: 100 }),
      request(0, 200, { duration_ms: 100.25 }),
    ]);
    expect((await metricsOf()).totals).toMatchObject({ error_rate: 0.3333, response_ms: 100.1 });
  });

  test('without requests there is no rate and no time', async () => {
    expect((await metricsOf()).totals).toEqual({
      requests: 0,
      errors: 0,
      rate_limited: 0,
      error_rate: null,
      response_ms: null,
      cost_microdollars: 0,
    });
  });

  test('other entries, other routes and what is damaged do not', async () => {
    await fillLogs([
      request(0, 200, { metadata: { event: 'other' } }),
      request(0, 200, { metadata: { route: '/jobs' } }),
      { log_id: 'plain', timestamp: new Date(NOW).toISOString() },
      request(0, 200, { metadata: { duration_ms: null } }),
      request(0, 200, { metadata: { status: null } }),
    ]);
    expect((await metricsOf()).totals).toMatchObject({
      requests: 2,
      errors: 0,
      response_ms: null,
    });
  });

  test('providers, tokens and cost come from the usage of the same time and instances', async () => {
    await use(0);
    await use(59 * 60, { tokens_used: 7, cost: 5 });
    await use(30, { provider: 'acme', cost: 11, instance_id: 'development' });
    await use(59 * 60 + 1);
    await use(-60);
    await use(0, { org_id: 'acme', instance_id: IDS.otherInstanceId });
    const { providers, totals } = await metricsOf();
    expect(providers).toEqual([
      { provider: 'acme', requests: 1, tokens: 0, cost_microdollars: 11 },
      { provider: 'ideogram', requests: 2, tokens: 7, cost_microdollars: 80_005 },
    ]);
    expect(totals.cost_microdollars).toBe(80_016);
    expect((await metricsOf('?instance_id=development')).totals.cost_microdollars).toBe(11);
  });
});

test('before the migration it is a 500 without details', async () => {
  await withoutLogs(async () => {
    const answer = await service.call('superadmin', 'GET', '/metrics');
    expect([answer.status, answer.body]).toEqual([500, errorBody('INTERNAL_ERROR')]);
  });
});
