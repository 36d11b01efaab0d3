// The Ideogram adapter against a mock that is as strict as the service: every family, and jobs from their beginning to the image.
import { describe, expect, test } from 'vitest';
import type { IdeogramOptions } from '@/workers/shared/provider-adapters/ideogram-adapter';
import { adapterRegistry } from '@/workers/shared/provider-adapters/registry';
import type { ImageResult } from '@/workers/shared/provider-adapters/types';
import { MOCK_API_KEY, type MockFault } from './mock-ideogram';
import { Bench, failureOf, PROMPT } from './support';

const MODELS = adapterRegistry.get('ideogram').models;
const ASYNCHRONOUS = ['ideogram-4-5', 'ideogram-v4'];

/** As the Worker does it. Gives the result, and how often it was pending. */
async function generate(bench: Bench, model: string): Promise<[ImageResult, number]> {
  const adapter = bench.adapter();
  bench.mock.next('submit', { kind: 'latency', milliseconds: 3_000 });
  const jobId = await adapter.submitJob(adapter.formatRequest(PROMPT, { model }), MOCK_API_KEY);
  let pending = 0;
  while ((await adapter.checkStatus(jobId)).status === 'pending') {
    pending += 1;
  }
  return [await adapter.fetchResult(jobId), pending];
}

test.each(MODELS)('%s generates an image that can be fetched', async (model) => {
  const bench = new Bench();
  const [result] = await generate(bench, model);
  expect(result).toEqual({
    image_url: expect.stringMatching(/^https:\/\/ideogram\.ai\/api\/images\/ephemeral\//),
    provider: 'ideogram',
    model,
    metadata: { dimensions: '1024x1024', format: 'png', generation_time_ms: 3_000 },
    usage: { tokens: 0, cost_microdollars: expect.any(Number) },
  });
  expect(result.usage.cost_microdollars).toBeGreaterThan(0);
  const image = await bench.adapter().fetchImage(result);
  expect(image.contentType).toBe('image/png');
  const bytes = new Uint8Array(await new Response(image.body).arrayBuffer());
  expect([...bytes.subarray(1, 4)]).toEqual([...new TextEncoder().encode('PNG')]);
});

test.each([
  ['ideogram-4-5', '/v2/image/generate/ideogram-4-5', { prompt: PROMPT, async: true }],
  ['ideogram-v4', '/v1/ideogram-v4/async/generate', { text_prompt: PROMPT }],
  ['ideogram-v3', '/v1/ideogram-v3/generate', { prompt: PROMPT }],
  ['ideogram-v2', '/generate', { image_request: { prompt: PROMPT, model: 'V_2' } }],
])('%s is asked for in its own form', async (model, path, body) => {
  const bench = new Bench();
  await generate(bench, model);
  const [submission, ...more] = bench.mock.requestsOf('submit');
  expect(more).toEqual([]);
  expect(submission).toMatchObject({ method: 'POST', path, body });
  expect(submission?.body).toEqual(body);
  expect(submission?.headers).toMatchObject({ 'api-key': MOCK_API_KEY });
  expect(submission?.headers).not.toHaveProperty('authorization');
});

test.each<[string, IdeogramOptions, unknown]>([
  [
    'ideogram-4-5',
    { aspectRatio: '16:9', seed: 7 },
    { prompt: PROMPT, async: true, aspect_ratio: '16x9', seed: 7 },
  ],
  [
    'ideogram-v4',
    { aspectRatio: '9:16', renderingSpeed: 'QUALITY' },
    { text_prompt: PROMPT, resolution: '1440x2560', rendering_speed: 'QUALITY' },
  ],
  [
    'ideogram-v3',
    {
      aspectRatio: '2:3',
      seed: 0,
      negativePrompt: 'blur',
      renderingSpeed: 'TURBO',
      magicPrompt: 'OFF',
      styleType: 'DESIGN',
    },
    {
      prompt: PROMPT,
      aspect_ratio: '2x3',
      seed: '0',
      negative_prompt: 'blur',
      rendering_speed: 'TURBO',
      magic_prompt: 'OFF',
      style_type: 'DESIGN',
    },
  ],
  [
    'ideogram-v2',
    {
      aspectRatio: '9:16',
      seed: 42,
      negativePrompt: 'blur',
      magicPrompt: 'ON',
      styleType: 'REALISTIC',
    },
    {
      image_request: {
        prompt: PROMPT,
        model: 'V_2',
        aspect_ratio: 'ASPECT_9_16',
        seed: 42,
        negative_prompt: 'blur',
        magic_prompt_option: 'ON',
        style_type: 'REALISTIC',
      },
    },
  ],
])('%s takes all of its options', async (model, options, body) => {
  const bench = new Bench();
  const adapter = bench.adapter();
  await adapter.submitJob(adapter.formatRequest(PROMPT, { model, ...options }), MOCK_API_KEY);
  expect(bench.mock.requestsOf('submit')).toMatchObject([{ status: 200, body }]);
});

test('an option that the model cannot heed is refused and not ignored', () => {
  const adapter = new Bench().adapter();
  expect(() => adapter.formatRequest(PROMPT, { negativePrompt: 'blur' })).toThrow(
    'ideogram-4-5 takes no negativePrompt',
  );
  expect(adapter.formatRequest(PROMPT, { negativePrompt: undefined })).toBeDefined();
});

test('an unknown model is refused with the known ones', () => {
  expect(() => new Bench().adapter().formatRequest(PROMPT, { model: 'ideogram-9' })).toThrow(
    `there is no model "ideogram-9"; known are ${MODELS.join(', ')}`,
  );
});

test('a formatted request is plain data without a key, and can be sent after it was stored', async () => {
  const bench = new Bench();
  const stored = JSON.stringify(bench.adapter().formatRequest(PROMPT));
  expect(stored).not.toContain(MOCK_API_KEY);
  await bench.adapter().submitJob(JSON.parse(stored), MOCK_API_KEY);
  expect(bench.mock.requestsOf('submit')).toMatchObject([{ status: 200 }]);
});

test.each(MODELS)('%s is polled only if it answers with a job', async (model) => {
  const bench = new Bench({ pendingPolls: { min: 3, max: 3 } });
  const [, pending] = await generate(bench, model);
  const asynchronous = ASYNCHRONOUS.includes(model);
  expect(pending).toBe(asynchronous ? 3 : 0);
  expect(bench.mock.requestsOf('poll')).toHaveLength(asynchronous ? 4 : 0);
});

test.each(ASYNCHRONOUS)(
  'another adapter goes on with a job of %s by its id alone',
  async (model) => {
    const bench = new Bench({ pendingPolls: { min: 0, max: 0 } });
    const adapter = bench.adapter();
    const jobId = await adapter.submitJob(adapter.formatRequest(PROMPT, { model }), MOCK_API_KEY);
    bench.time += 90_000;
    const result = await bench.adapter().fetchResult(jobId);
    expect(result).toMatchObject({ model, metadata: { generation_time_ms: 90_000 } });
  },
);

test('the result of a provider that answered at once is where the job was submitted, and nowhere else', async () => {
  const bench = new Bench();
  const adapter = bench.adapter();
  const request = adapter.formatRequest(PROMPT, { model: 'ideogram-v3' });
  const jobId = await adapter.submitJob(request, MOCK_API_KEY);
  expect(await adapter.checkStatus(jobId)).toEqual({ status: 'completed' });
  expect([adapter.answeredAtOnce(jobId), bench.adapter().answeredAtOnce(jobId)]).toEqual([
    true,
    false,
  ]);
  const error = await failureOf(bench.adapter().checkStatus(jobId));
  expect(error).toMatchObject({ kind: 'not_found', retryable: false, jobId, status: undefined });
  expect(bench.mock.requestsOf('poll')).toEqual([]);
});

test('a result that comes at once is accepted where a job was expected', async () => {
  const bench = new Bench();
  const adapter = bench.adapter();
  const request = adapter.formatRequest(PROMPT);
  const jobId = await adapter.submitJob(
    { ...request, body: { kind: 'json', value: { prompt: PROMPT } } },
    MOCK_API_KEY,
  );
  expect(await adapter.fetchResult(jobId)).toMatchObject({ model: 'ideogram-4-5' });
  expect(adapter.answeredAtOnce(jobId)).toBe(true);
  expect(bench.mock.requestsOf('poll')).toEqual([]);
});

test('the result of a pending job cannot be had yet', async () => {
  const bench = new Bench();
  bench.mock.always('submit', { kind: 'pending', polls: 'endless' });
  const adapter = bench.adapter();
  const jobId = await adapter.submitJob(adapter.formatRequest(PROMPT), MOCK_API_KEY);
  for (let poll = 0; poll < 20; poll += 1) {
    expect(await adapter.checkStatus(jobId)).toEqual({ status: 'pending' });
  }
  const error = await failureOf(adapter.fetchResult(jobId));
  expect(error).toMatchObject({ kind: 'invalid_request', retryable: false, jobId });
});

test('a completed job is not asked for twice', async () => {
  const bench = new Bench({ pendingPolls: { min: 0, max: 0 } });
  const adapter = bench.adapter();
  const jobId = await adapter.submitJob(adapter.formatRequest(PROMPT), MOCK_API_KEY);
  await adapter.checkStatus(jobId);
  const first = await adapter.fetchResult(jobId);
  bench.time += 60_000;
  expect(await adapter.fetchResult(jobId)).toEqual(first);
  expect(bench.mock.requestsOf('poll')).toHaveLength(1);
});

test.each([
  ['internal_error', 'generation_failed'],
  ['prompt_not_safe', 'rejected'],
  ['content_moderation', 'rejected'],
  ['SAFETY', 'rejected'],
  ['INTERNAL_ERROR', 'generation_failed'],
])(
  'a generation that failed for %s is a failed job, %s, and is not to be tried again',
  async (reason, kind) => {
    const bench = new Bench({ pendingPolls: { min: 1, max: 1 } });
    bench.mock.next('submit', { kind: 'failed', reason });
    const adapter = bench.adapter();
    const jobId = await adapter.submitJob(adapter.formatRequest(PROMPT), MOCK_API_KEY);
    expect(await adapter.checkStatus(jobId)).toEqual({ status: 'pending' });
    const error = { kind, reason, retryable: false, jobId };
    expect(await adapter.checkStatus(jobId)).toMatchObject({ status: 'failed', reason, error });
    expect(await failureOf(adapter.fetchResult(jobId))).toMatchObject(error);
  },
);

test('a reason in words is left out, since it could quote anything', async () => {
  const bench = new Bench({ pendingPolls: { min: 0, max: 0 } });
  bench.mock.next('submit', { kind: 'failed', reason: `no capacity for ${PROMPT}` });
  const adapter = bench.adapter();
  const jobId = await adapter.submitJob(adapter.formatRequest(PROMPT), MOCK_API_KEY);
  expect(await adapter.checkStatus(jobId)).toMatchObject({ status: 'failed', reason: 'unknown' });
});

test.each(['Prompt failed the safety check', 'SafetyFilter', 'safety-check'])(
  'a reason that is no code, yet names safety, is a rejection (%s)',
  async (reason) => {
    const bench = new Bench({ pendingPolls: { min: 0, max: 0 } });
    bench.mock.next('submit', { kind: 'failed', reason });
    const adapter = bench.adapter();
    const jobId = await adapter.submitJob(adapter.formatRequest(PROMPT), MOCK_API_KEY);
    const error = { kind: 'rejected', reason: undefined };
    expect(await adapter.checkStatus(jobId)).toMatchObject({ reason: 'unknown', error });
  },
);

test('a job that failed without a reason has an unknown one', async () => {
  const bench = new Bench({ pendingPolls: { min: 0, max: 0 } });
  bench.mock.next('submit', { kind: 'failed', reason: 'internal_error' });
  const adapter = bench.adapter();
  const request = adapter.formatRequest(PROMPT, { model: 'ideogram-v4' });
  const jobId = await adapter.submitJob(request, MOCK_API_KEY);
  expect(await adapter.checkStatus(jobId)).toMatchObject({ status: 'failed', reason: 'unknown' });
});

// Of the eight seeds some withhold with an empty link and some with null.
test.each([1, 2, 3, 4, 5, 6, 7, 8])(
  'a withheld image is an error and never fetched (seed %i)',
  async (seed) => {
    const bench = new Bench({ seed, pendingPolls: { min: 0, max: 0 } });
    bench.mock.always('submit', { kind: 'unsafe' });
    const adapter = bench.adapter();
    const unsafe = { kind: 'unsafe_image', retryable: false, status: 200 };
    for (const model of ['ideogram-v3', 'ideogram-v2']) {
      const request = adapter.formatRequest(PROMPT, { model });
      expect(await failureOf(adapter.submitJob(request, MOCK_API_KEY))).toMatchObject(unsafe);
    }
    for (const model of ASYNCHRONOUS) {
      const request = adapter.formatRequest(PROMPT, { model });
      const jobId = await adapter.submitJob(request, MOCK_API_KEY);
      const error = { ...unsafe, jobId };
      const failed = { status: 'failed', reason: 'unsafe_image', error };
      expect(await adapter.checkStatus(jobId)).toMatchObject(failed);
      expect(await failureOf(adapter.fetchResult(jobId))).toMatchObject(error);
    }
    expect(bench.mock.requestsOf('image')).toEqual([]);
  },
);

test.each<[string, MockFault]>([
  ['no link', { kind: 'missing-fields', fields: ['url'] }],
  ['an empty link', { kind: 'wrong-fields', fields: { url: '' } }],
  ['null for a link', { kind: 'wrong-fields', fields: { url: null } }],
])('an image with %s is withheld, whatever else is said of it', async (_, fault) => {
  const bench = new Bench({ pendingPolls: { min: 0, max: 0 } });
  bench.mock.always('poll', fault);
  const adapter = bench.adapter();
  const unsafe = { kind: 'unsafe_image', retryable: false };
  const jobId = await adapter.submitJob(adapter.formatRequest(PROMPT), MOCK_API_KEY);
  const status = await adapter.checkStatus(jobId);
  expect(status).toMatchObject({ status: 'failed', reason: 'unsafe_image', error: unsafe });
  bench.mock.always('submit', fault);
  const request = adapter.formatRequest(PROMPT, { model: 'ideogram-v2' });
  expect(await failureOf(adapter.submitJob(request, MOCK_API_KEY))).toMatchObject(unsafe);
});

test.each<MockFault>([
  { kind: 'missing-fields', fields: ['is_image_safe'] },
  { kind: 'wrong-fields', fields: { is_image_safe: null } },
])('an image with a link is safe unless the answer says otherwise (%o)', async (fault) => {
  const bench = new Bench();
  bench.mock.always('submit', fault);
  const adapter = bench.adapter();
  const request = adapter.formatRequest(PROMPT, { model: 'ideogram-v2' });
  const jobId = await adapter.submitJob(request, MOCK_API_KEY);
  expect(await adapter.fetchResult(jobId)).toMatchObject({ model: 'ideogram-v2' });
});

test.each([
  ['https://ideogram.ai/a.jpg?exp=1', 'jpeg'],
  ['https://ideogram.ai/a.jpeg', 'jpeg'],
  ['https://ideogram.ai/a.webp', 'webp'],
  ['https://ideogram.ai/a.png', 'png'],
  ['https://ideogram.ai/a', 'png'],
])('the format of %s is %s', async (url, format) => {
  const bench = new Bench();
  bench.mock.next('submit', { kind: 'wrong-fields', fields: { url } });
  const adapter = bench.adapter();
  const request = adapter.formatRequest(PROMPT, { model: 'ideogram-v3' });
  const result = await adapter.fetchResult(await adapter.submitJob(request, MOCK_API_KEY));
  expect(result.metadata.format).toBe(format);
});

describe.each([
  ['upper case', (name: string) => name.toUpperCase()],
  ['capitals', (name: string) => name.replace(/(^|_)[a-z]/g, (start) => start.toUpperCase())],
])('an answer whose fields are named in %s', (_, renamed) => {
  function rename(value: unknown): unknown {
    if (Array.isArray(value)) {
      return value.map(rename);
    }
    return typeof value === 'object' && value !== null
      ? Object.fromEntries(
          Object.entries(value).map(([name, field]) => [renamed(name), rename(field)]),
        )
      : value;
  }
  function renamingAdapter(bench: Bench) {
    return bench.adapter({
      fetch: async (request) => {
        const response = await bench.mock.fetch(request);
        const isJson = /json/i.test(response.headers.get('Content-Type') ?? '');
        return isJson
          ? new Response(JSON.stringify(rename(await response.json())), response)
          : response;
      },
    });
  }

  test.each(MODELS)('is read as any other, by %s', async (model) => {
    const bench = new Bench({ pendingPolls: { min: 1, max: 1 } });
    const cost = { usage_cost_usd_micros: 12_345 };
    for (const stage of ['submit', 'poll'] as const) {
      bench.mock.always(stage, { kind: 'wrong-fields', fields: cost });
    }
    const adapter = renamingAdapter(bench);
    const jobId = await adapter.submitJob(adapter.formatRequest(PROMPT, { model }));
    await adapter.checkStatus(jobId);
    const result = await adapter.fetchResult(jobId);
    expect(result.metadata.dimensions).toBe('1024x1024');
    const image = await adapter.fetchImage(result);
    expect(image.contentType).toBe('image/png');
    await image.body.cancel();
  });

  test('tells why it refuses, withholds or fails', async () => {
    const bench = new Bench({ pendingPolls: { min: 0, max: 0 } });
    const adapter = renamingAdapter(bench);
    const submit = (model: string) => adapter.submitJob(adapter.formatRequest(PROMPT, { model }));
    bench.mock.next('submit', { kind: 'inflight-limit' });
    expect(await failureOf(submit('ideogram-v3'))).toMatchObject({ reason: 'inflight_limit' });
    bench.mock.next('submit', { kind: 'unsafe' });
    expect(await failureOf(submit('ideogram-v3'))).toMatchObject({ kind: 'unsafe_image' });
    bench.mock.next('submit', { kind: 'failed', reason: 'prompt_not_safe' });
    const status = await adapter.checkStatus(await submit('ideogram-4-5'));
    expect(status).toMatchObject({ status: 'failed', reason: 'prompt_not_safe' });
  });
});

test('of a field that is there in two cases, the one with the name of the reference counts', async () => {
  const bench = new Bench();
  for (const fields of [
    { url: 'https://ideogram.ai/a.png', URL: 'https://example.com/b.png' },
    { URL: 'https://example.com/b.png', url: 'https://ideogram.ai/a.png' },
  ]) {
    const data = [{ ...fields, resolution: '1x1' }];
    bench.mock.next('submit', { kind: 'status', status: 200, body: { data } });
    const adapter = bench.adapter();
    const request = adapter.formatRequest(PROMPT, { model: 'ideogram-v3' });
    const { image_url } = await adapter.fetchResult(await adapter.submitJob(request));
    expect(image_url).toBe('https://ideogram.ai/a.png');
  }
});

test('what the provider charged counts more than its list price', async () => {
  const bench = new Bench();
  bench.mock.always('poll', { kind: 'wrong-fields', fields: { usage_cost_usd_micros: 12_345 } });
  const [charged] = await generate(bench, 'ideogram-4-5');
  expect(charged.usage.cost_microdollars).toBe(12_345);
  bench.mock.always('poll', { kind: 'missing-fields', fields: ['usage_cost_usd_micros'] });
  const [listed] = await generate(bench, 'ideogram-4-5');
  expect(listed.usage.cost_microdollars).toBe(60_000);
});

test.each([
  [0, 60_000],
  [-5, 60_000],
  ['a lot', 60_000],
  [null, 60_000],
  [0.2, 1],
  [41_000.5, 41_001],
])('a cost of %j is recorded as %i micro-dollars', async (cost, recorded) => {
  const bench = new Bench();
  bench.mock.always('poll', { kind: 'wrong-fields', fields: { usage_cost_usd_micros: cost } });
  const [result] = await generate(bench, 'ideogram-4-5');
  expect(result.usage.cost_microdollars).toBe(recorded);
});

test('the API may be anywhere, and its links may lead there without TLS', async () => {
  const baseUrl = 'http://127.0.0.1:8799';
  const bench = new Bench({ imageOrigin: baseUrl, pendingPolls: { min: 0, max: 0 } });
  const urls: string[] = [];
  const adapter = bench.adapter({
    // A slash at the end does not matter.
    baseUrl: `${baseUrl}/`,
    fetch: (request) => {
      urls.push(request.url);
      return bench.mock.fetch(request);
    },
  });
  const jobId = await adapter.submitJob(adapter.formatRequest(PROMPT), MOCK_API_KEY);
  const image = await adapter.fetchImage(await adapter.fetchResult(jobId));
  expect(image.contentType).toBe('image/png');
  await image.body.cancel();
  expect(urls.map((url) => url.startsWith(`${baseUrl}/`))).toEqual([true, true, true]);
});

test('by default it goes to the public API', async () => {
  const bench = new Bench();
  const hosts: string[] = [];
  const adapter = bench.adapter({
    fetch: (request) => {
      hosts.push(new URL(request.url).origin);
      return bench.mock.fetch(request);
    },
  });
  await adapter.submitJob(adapter.formatRequest(PROMPT), MOCK_API_KEY);
  expect(hosts).toEqual(['https://api.ideogram.ai']);
});

test('a job is submitted with the key that is given for it', async () => {
  const bench = new Bench();
  const adapter = bench.adapter({ apiKey: 'another' });
  const request = adapter.formatRequest(PROMPT);
  expect(await failureOf(adapter.submitJob(request))).toMatchObject({ kind: 'authentication' });
  await adapter.submitJob(request, MOCK_API_KEY);
  expect(bench.mock.requestsOf('submit').map(({ status }) => status)).toEqual([401, 200]);
});

test('a clock that was set back makes no negative time', async () => {
  const bench = new Bench({ pendingPolls: { min: 0, max: 0 } });
  const adapter = bench.adapter();
  const jobId = await adapter.submitJob(adapter.formatRequest(PROMPT), MOCK_API_KEY);
  bench.time -= 5_000;
  expect((await adapter.fetchResult(jobId)).metadata.generation_time_ms).toBe(0);
});

test('it has no parts of an image before all of it is there', () => {
  expect(new Bench().adapter().supportsStreaming()).toBe(false);
});
