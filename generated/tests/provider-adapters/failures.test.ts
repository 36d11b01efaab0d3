// Every way in which a provider fails, and whether the caller may try again.
import { describe, expect, test } from 'vitest';
import type { ProviderAdapter } from '@/workers/shared/provider-adapters/base-adapter';
import type { ProviderErrorKind } from '@/workers/shared/provider-adapters/errors';
import { MOCK_API_KEY, type MockFault } from './mock-ideogram';
import { Bench, failureOf, PROMPT, settle } from './support';

const submit = (adapter: ProviderAdapter, model = 'ideogram-4-5') =>
  adapter.submitJob(adapter.formatRequest(PROMPT, { model }), MOCK_API_KEY);

const STATUSES: [number, ProviderErrorKind, boolean][] = [
  [302, 'invalid_response', true],
  [400, 'invalid_request', false],
  [401, 'authentication', false],
  [402, 'payment', false],
  [403, 'forbidden', false],
  [404, 'not_found', false],
  [405, 'invalid_request', false],
  [408, 'invalid_request', false],
  [409, 'invalid_request', false],
  [413, 'too_large', false],
  [422, 'rejected', false],
  [429, 'rate_limited', true],
  [500, 'server_error', true],
  [502, 'server_error', true],
  [503, 'server_error', true],
  [504, 'server_error', true],
];

describe.each(['ideogram-4-5', 'ideogram-v4', 'ideogram-v3', 'ideogram-v2'])('%s', (model) => {
  test.each(STATUSES)(
    'a %i at submission is %s, retryable: %s',
    async (status, kind, retryable) => {
      const bench = new Bench();
      bench.mock.next('submit', { kind: 'status', status });
      const error = await failureOf(submit(bench.adapter(), model));
      expect(error).toMatchObject({ provider: 'ideogram', kind, status, retryable });
      expect(error.jobId).toBeUndefined();
      // The caller tries again, not the adapter.
      expect(bench.mock.requestsOf('submit')).toHaveLength(1);
    },
  );
});

test.each(STATUSES)(
  'a %i to a poll is %s, retryable: %s, with the job',
  async (status, kind, retryable) => {
    const bench = new Bench();
    const adapter = bench.adapter();
    const jobId = await submit(adapter);
    bench.mock.next('poll', { kind: 'status', status });
    const error = await failureOf(adapter.checkStatus(jobId));
    expect(error).toMatchObject({ kind, status, retryable, jobId });
    expect(bench.mock.requestsOf('poll')).toHaveLength(1);
  },
);

test.each(['insufficient_funds', 'daily_limit'])(
  'a 402 says %s, and is not to be tried again',
  async (reason) => {
    const bench = new Bench();
    const body = { error: `Team of ${MOCK_API_KEY}`, reject_reason: reason };
    bench.mock.next('submit', { kind: 'status', status: 402, body });
    const error = await failureOf(submit(bench.adapter()));
    expect(error).toMatchObject({ kind: 'payment', retryable: false, reason });
  },
);

test('too many images in progress may be tried again, whether it says when or not', async () => {
  const bench = new Bench({ maxInflightImages: 2 });
  const adapter = bench.adapter();
  await submit(adapter);
  await submit(adapter);
  const limited = { kind: 'rate_limited', retryable: true, reason: 'inflight_limit', status: 429 };
  const error = await failureOf(submit(adapter));
  expect(error).toMatchObject(limited);
  expect(error.retryAfterSeconds).toBeUndefined();
  bench.mock.reset();
  bench.mock.next('submit', { kind: 'inflight-limit', retryAfter: '7' });
  const told = await failureOf(submit(adapter));
  expect(told).toMatchObject({ ...limited, retryAfterSeconds: 7 });
});

test.each([
  ['0', 0],
  ['17', 17],
  [' 17 ', 17],
  ['Sat, 31 Jan 2026 09:30:45 GMT', 45],
  ['Sat, 31 Jan 2026 09:29:00 GMT', 0],
  ['-5', undefined],
  ['1.5', undefined],
  ['soon', undefined],
  ['', undefined],
])('Retry-After "%s" is a pause of %s seconds', async (retryAfter, seconds) => {
  const bench = new Bench();
  bench.mock.next('submit', { kind: 'status', status: 503, retryAfter });
  expect((await failureOf(submit(bench.adapter()))).retryAfterSeconds).toBe(seconds);
});

test('a refused poll says how long to wait', async () => {
  const bench = new Bench({ pendingPolls: { min: 2_000, max: 2_000 } });
  const adapter = bench.adapter();
  const jobId = await submit(adapter);
  for (let poll = 0; poll < 1_000; poll += 1) {
    await adapter.checkStatus(jobId);
  }
  bench.time += 4_000;
  const error = await failureOf(adapter.checkStatus(jobId));
  expect(error).toMatchObject({ kind: 'rate_limited', retryAfterSeconds: 6, jobId });
});

const NONSENSE: [string, MockFault][] = [
  ['no JSON', { kind: 'malformed-json' }],
  ['null', { kind: 'status', status: 200, body: null }],
  ['a number', { kind: 'status', status: 200, body: 5 }],
  ['an array', { kind: 'status', status: 200, body: [] }],
  [
    'what would do, but is far too long',
    {
      kind: 'wrong-fields',
      fields: { generation_kind: 'x'.repeat(1_100_000), created: 'x'.repeat(1_100_000) },
    },
  ],
];

test.each<[string, MockFault]>([
  ...NONSENSE,
  ['no id', { kind: 'missing-fields', fields: ['generation_id'] }],
  ['an id that is a path', { kind: 'wrong-fields', fields: { generation_id: '../../account' } }],
  ['an id that is a number', { kind: 'wrong-fields', fields: { generation_id: 5 } }],
])('a submission that is answered with %s may be tried again', async (_, fault) => {
  const bench = new Bench();
  bench.mock.next('submit', fault);
  const error = await failureOf(submit(bench.adapter()));
  expect(error).toMatchObject({ kind: 'invalid_response', retryable: true, status: 200 });
});

test('an answer of nothing but brackets is nonsense', async () => {
  const body = '['.repeat(500_000) + ']'.repeat(500_000);
  const adapter = new Bench().adapter({ fetch: () => Promise.resolve(new Response(body)) });
  expect(await failureOf(submit(adapter))).toMatchObject({ kind: 'invalid_response' });
});

const BROKEN_IMAGES: [string, MockFault][] = [
  ['no data', { kind: 'missing-fields', fields: ['data'] }],
  ['no images', { kind: 'wrong-fields', fields: { data: [] } }],
  ['a link that is none', { kind: 'wrong-fields', fields: { url: 'somewhere' } }],
  ['a word on safety that is none', { kind: 'wrong-fields', fields: { is_image_safe: 'yes' } }],
];

test.each(BROKEN_IMAGES)('a family that answers at once, with %s', async (_, fault) => {
  const bench = new Bench();
  bench.mock.always('submit', fault);
  for (const model of ['ideogram-v3', 'ideogram-v2']) {
    const error = await failureOf(submit(bench.adapter(), model));
    expect(error).toMatchObject({ kind: 'invalid_response', retryable: true, status: 200 });
  }
});

test.each<[string, MockFault]>([
  ...NONSENSE,
  ...BROKEN_IMAGES,
  ['no status', { kind: 'missing-fields', fields: ['status'] }],
  ['an unknown status', { kind: 'wrong-fields', fields: { status: 'paused' } }],
])('a poll that is answered with %s', async (_, fault) => {
  const bench = new Bench({ pendingPolls: { min: 0, max: 0 } });
  const adapter = bench.adapter();
  const jobId = await submit(adapter);
  bench.mock.next('poll', fault);
  const error = await failureOf(adapter.checkStatus(jobId));
  expect(error).toMatchObject({ kind: 'invalid_response', retryable: true, status: 200, jobId });
});

test.each<[string, MockFault]>([
  ['there is none', { kind: 'no-connection' }],
  ['it breaks in the middle of the body', { kind: 'drop-body' }],
])('a connection may be tried again: %s', async (_, fault) => {
  const bench = new Bench();
  const adapter = bench.adapter();
  const jobId = await submit(adapter);
  bench.mock.always('submit', fault);
  bench.mock.always('poll', fault);
  for (const model of ['ideogram-4-5', 'ideogram-v3']) {
    const error = await failureOf(submit(adapter, model));
    expect(error).toMatchObject({ kind: 'connection', retryable: true, status: undefined });
  }
  expect(await failureOf(adapter.checkStatus(jobId))).toMatchObject({ kind: 'connection', jobId });
});

describe.each<MockFault>([{ kind: 'hang' }, { kind: 'stall-body' }])(
  'when it does $kind',
  (fault) => {
    test('a submission ends with its time limit', async () => {
      const bench = new Bench();
      bench.mock.next('submit', fault);
      const call = failureOf(submit(bench.adapter()));
      await settle();
      expect(bench.limits.map(({ milliseconds }) => milliseconds)).toEqual([60_000]);
      bench.endTime();
      expect(await call).toMatchObject({ kind: 'timeout', retryable: true });
    });

    test('a poll ends with its time limit', async () => {
      const bench = new Bench();
      const adapter = bench.adapter({ timeLimits: { statusMs: 1_234 } });
      const jobId = await submit(adapter);
      bench.mock.next('poll', fault);
      const call = failureOf(adapter.checkStatus(jobId));
      await settle();
      expect(bench.limits.at(-1)?.milliseconds).toBe(1_234);
      bench.endTime();
      expect(await call).toMatchObject({ kind: 'timeout', retryable: true, jobId });
    });
  },
);

test('a refusal whose explanation never comes is still what its status says', async () => {
  const bench = new Bench();
  const adapter = bench.adapter({
    fetch: () => Promise.resolve(new Response(new ReadableStream(), { status: 402 })),
  });
  const call = failureOf(submit(adapter));
  await settle();
  bench.endTime();
  expect(await call).toMatchObject({ kind: 'payment', status: 402, reason: undefined });
});

test('a success without a body is nonsense', async () => {
  const adapter = new Bench().adapter({
    fetch: () => Promise.resolve(new Response(null, { status: 204 })),
  });
  expect(await failureOf(submit(adapter))).toMatchObject({ kind: 'invalid_response' });
});

test('the caller can end a call that is under way, and all that follow', async () => {
  const bench = new Bench();
  const controller = new AbortController();
  const adapter = bench.adapter({ signal: controller.signal });
  bench.mock.next('submit', { kind: 'hang' });
  const call = failureOf(submit(adapter));
  await settle();
  controller.abort();
  expect(await call).toMatchObject({ kind: 'timeout', retryable: true });
  expect(await failureOf(submit(adapter))).toMatchObject({ kind: 'timeout' });
  expect(bench.mock.requestsOf('submit')).toHaveLength(1);
});

test('a call of a caller that could end it has its own time limit, too', async () => {
  const bench = new Bench();
  bench.mock.next('submit', { kind: 'hang' });
  const call = failureOf(submit(bench.adapter({ signal: new AbortController().signal })));
  await settle();
  bench.endTime();
  expect(await call).toMatchObject({ kind: 'timeout' });
});

test.each(['a\nb', 'a b', 'schlüssel'])(
  'a key that no header can hold is not sent, nor quoted (%j)',
  async (apiKey) => {
    const bench = new Bench();
    const adapter = bench.adapter({ apiKey });
    const error = await failureOf(adapter.submitJob(adapter.formatRequest(PROMPT)));
    expect(error).toMatchObject({ kind: 'authentication', retryable: false, status: undefined });
    expect(error.message).not.toContain(apiKey);
    expect(bench.mock.journal).toEqual([]);
  },
);

test('a call whose time is up before it begins is a timeout', async () => {
  const bench = new Bench();
  const error = await failureOf(submit(bench.adapter({ timeout: () => AbortSignal.abort() })));
  expect(error).toMatchObject({ kind: 'timeout' });
});

test.each([
  '',
  'ideogram-4-5',
  'ideogram-4-5.1.',
  'ideogram-4-5.x.abc',
  'ideogram-9.1.abc',
  'ideogram-4-5.1.../x',
  'ideogram-4-5.1.a/b',
])('no call is made for "%s", which is no job id', async (jobId) => {
  const bench = new Bench();
  const error = await failureOf(bench.adapter().checkStatus(jobId));
  expect(error).toMatchObject({ kind: 'not_found', retryable: false });
  expect(bench.mock.journal).toEqual([]);
});

test.each(['ideogram-9', 'development-1', 'constructor'])(
  'a request for %s, which is no model here, is not sent',
  async (model) => {
    const bench = new Bench();
    const adapter = bench.adapter();
    const request = { ...adapter.formatRequest(PROMPT), model };
    const error = await failureOf(adapter.submitJob(request, MOCK_API_KEY));
    expect(error).toMatchObject({ kind: 'invalid_request', retryable: false });
    expect(bench.mock.journal).toEqual([]);
  },
);

test('a redirect is not followed, so that the key goes nowhere else', async () => {
  const bench = new Bench();
  const modes: string[] = [];
  const adapter = bench.adapter({
    fetch: (request) => {
      modes.push(request.redirect);
      return bench.mock.fetch(request);
    },
  });
  await adapter.checkStatus(await submit(adapter));
  expect(modes).toEqual(['manual', 'manual']);
});

test('neither key nor prompt is in any error', async () => {
  const faults: MockFault[] = [
    { kind: 'no-connection' },
    { kind: 'malformed-json' },
    { kind: 'unsafe' },
    ...[302, 400, 401, 402, 403, 404, 413, 422, 429, 500].map(
      (status): MockFault => ({
        kind: 'status',
        status,
        body: { error: `${MOCK_API_KEY} ${PROMPT}`, reject_reason: `${MOCK_API_KEY} ${PROMPT}` },
      }),
    ),
  ];
  const bench = new Bench();
  const adapter = bench.adapter();
  for (const fault of faults) {
    bench.mock.next('submit', fault);
    const error = await failureOf(submit(adapter, 'ideogram-v3'));
    const everything = [
      String(error),
      error.stack,
      String(error.cause),
      JSON.stringify({ ...error }),
    ].join();
    expect(everything).not.toContain(MOCK_API_KEY);
    expect(everything).not.toContain(PROMPT);
  }
});
