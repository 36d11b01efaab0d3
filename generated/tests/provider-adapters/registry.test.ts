// The registry, and what holds for every provider in it: nothing but its own file knows who it is.
import { describe, expect, test } from 'vitest';
import { DevelopmentAdapter } from '@/workers/shared/provider-adapters/development-adapter';
import { UnknownNameError } from '@/workers/shared/provider-adapters/errors';
import { IdeogramAdapter } from '@/workers/shared/provider-adapters/ideogram-adapter';
import {
  AdapterRegistry,
  adapterRegistry,
  createAdapter,
  DEFAULT_PROVIDER,
} from '@/workers/shared/provider-adapters/registry';
import { MOCK_API_KEY } from './mock-ideogram';
import { Bench, failureOf, PROMPT } from './support';

function nameErrorOf(call: () => unknown): UnknownNameError {
  try {
    call();
  } catch (error) {
    if (error instanceof UnknownNameError) {
      return error;
    }
  }
  throw new Error('it did not fail with an UnknownNameError');
}

test('the registered providers are known by name', () => {
  expect(adapterRegistry.providers()).toEqual(['development', 'ideogram']);
  expect(DEFAULT_PROVIDER).toBe('ideogram');
  expect(createAdapter('ideogram', { apiKey: 'key' })).toBeInstanceOf(IdeogramAdapter);
  expect(createAdapter('development', { apiKey: 'key' })).toBeInstanceOf(DevelopmentAdapter);
});

test.each(['dall-e', '', 'Ideogram', 'constructor', '__proto__'])(
  '"%s" is no provider, and the error lists those there are',
  (name) => {
    const error = nameErrorOf(() => createAdapter(name, { apiKey: 'key' }));
    expect(error).toMatchObject({
      what: 'provider',
      unknown: name,
      known: ['development', 'ideogram'],
    });
    expect(error.message).toContain('development, ideogram');
  },
);

test.each([
  [{}, { provider: 'ideogram', model: 'ideogram-4-5' }],
  [{ model: 'ideogram-v2' }, { provider: 'ideogram', model: 'ideogram-v2' }],
  [{ model: 'development-1' }, { provider: 'development', model: 'development-1' }],
  [{ provider: 'development' }, { provider: 'development', model: 'development-1' }],
  [
    { provider: 'ideogram', model: 'ideogram-v3' },
    { provider: 'ideogram', model: 'ideogram-v3' },
  ],
])('%j means %j', (wish, choice) => {
  expect(adapterRegistry.choose(wish)).toEqual(choice);
});

test('a model that nobody has, or another provider, is refused with the known ones', () => {
  const anywhere = nameErrorOf(() => adapterRegistry.choose({ model: 'nonsense' }));
  expect(anywhere).toMatchObject({ what: 'model', unknown: 'nonsense' });
  expect(anywhere.known).toEqual(expect.arrayContaining(['ideogram-4-5', 'development-1']));
  const elsewhere = nameErrorOf(() =>
    adapterRegistry.choose({ provider: 'development', model: 'ideogram-v3' }),
  );
  expect(elsewhere).toMatchObject({ what: 'model', known: ['development-1'] });
  expect(nameErrorOf(() => adapterRegistry.choose({ provider: 'dall-e' })).what).toBe('provider');
});

test('a further provider is one class and one entry', () => {
  class Sketch extends DevelopmentAdapter {
    static override readonly provider = 'sketch';
    static override readonly models = ['sketch-1'];
    static override readonly defaultModel = 'sketch-1';
    override readonly provider = Sketch.provider;
  }
  const registry = new AdapterRegistry([IdeogramAdapter, Sketch]);
  expect(registry.providers()).toEqual(['ideogram', 'sketch']);
  expect(registry.choose({ model: 'sketch-1' }).provider).toBe('sketch');
  expect(registry.create('sketch', { apiKey: 'key' }).provider).toBe('sketch');
});

test('an adapter without further options uses the platform’s own fetch and clock', async () => {
  const adapter = createAdapter('development', { apiKey: 'key' });
  const jobId = await adapter.submitJob(adapter.formatRequest(PROMPT), 'key');
  const result = await adapter.fetchResult(jobId);
  expect(result.metadata.generation_time_ms).toBeLessThan(10_000);
});

describe.each(adapterRegistry.providers())('%s', (provider) => {
  const { models, defaultModel } = adapterRegistry.get(provider);

  test('has models, its default among them', () => {
    expect(models).toContain(defaultModel);
    expect(new Set(models).size).toBe(models.length);
  });

  test.each(models)('%s: a request, a job, a status, a result, an image', async (model) => {
    const bench = new Bench();
    const adapter = bench.adapter({}, provider);
    expect(adapter.provider).toBe(provider);
    const request = adapter.formatRequest(PROMPT, { model });
    expect(request).toMatchObject({ provider, model });
    expect(JSON.parse(JSON.stringify(request))).toEqual(request);
    const jobId = await adapter.submitJob(request, MOCK_API_KEY);
    // What may stand in a URL, in a log and in a key of a storage.
    expect(jobId).toMatch(/^[\w.-]{1,250}$/);
    let status = await adapter.checkStatus(jobId);
    for (let poll = 0; status.status === 'pending' && poll < 10; poll += 1) {
      status = await adapter.checkStatus(jobId);
    }
    expect(status).toEqual({ status: 'completed' });
    const result = await adapter.fetchResult(jobId);
    expect(result).toEqual({
      image_url: expect.any(String),
      provider,
      model,
      metadata: {
        dimensions: expect.stringMatching(/^\d+x\d+$/),
        format: 'png',
        generation_time_ms: 0,
      },
      usage: { tokens: expect.any(Number), cost_microdollars: expect.any(Number) },
    });
    // An estimate where the provider says nothing, yet never nothing.
    expect(result.usage.cost_microdollars).toBeGreaterThan(0);
    const image = await adapter.fetchImage(result);
    expect(image).toMatchObject({
      contentType: 'image/png',
      dimensions: result.metadata.dimensions,
    });
    const bytes = new Uint8Array(await new Response(image.body).arrayBuffer());
    const view = new DataView(bytes.buffer);
    // The picture is as large as was said: its header has the size at a fixed place.
    expect(`${view.getUint32(16)}x${view.getUint32(20)}`).toBe(result.metadata.dimensions);
    expect(image.sizeBytes ?? bytes.length).toBe(bytes.length);
  });

  test('the time of a generation counts from its first submission', async () => {
    const bench = new Bench({ pendingPolls: { min: 0, max: 0 } });
    const adapter = bench.adapter({}, provider);
    const request = adapter.formatRequest(PROMPT, { model: defaultModel });
    const firstSubmittedAtMs = bench.time - 1_500;
    const jobId = await adapter.submitJob({ ...request, firstSubmittedAtMs }, MOCK_API_KEY);
    bench.time += 250;
    const { metadata } = await adapter.fetchResult(jobId);
    expect(metadata.generation_time_ms).toBe(1_750);
  });

  test('without a model it takes its own default', () => {
    expect(new Bench().adapter({}, provider).formatRequest(PROMPT).model).toBe(defaultModel);
  });

  test('an unknown model is refused before anything is sent', () => {
    const adapter = new Bench().adapter({}, provider);
    const error = nameErrorOf(() => adapter.formatRequest(PROMPT, { model: 'nonsense' }));
    expect(error).toMatchObject({ what: 'model', unknown: 'nonsense', known: models });
  });

  test('a job that is none of its own is not found', async () => {
    const adapter = new Bench().adapter({}, provider);
    for (const jobId of ['', 'nonsense', 'another-1.1.abc']) {
      const gone = { provider, kind: 'not_found', retryable: false, jobId };
      expect(await failureOf(adapter.checkStatus(jobId))).toMatchObject(gone);
      expect(await failureOf(adapter.fetchResult(jobId))).toMatchObject(gone);
    }
  });

  test('an empty key is a wrong key', async () => {
    const adapter = new Bench().adapter({ apiKey: '' }, provider);
    const error = await failureOf(adapter.submitJob(adapter.formatRequest(PROMPT)));
    expect(error).toMatchObject({
      provider,
      kind: 'authentication',
      retryable: false,
      status: 401,
    });
  });

  test('an answer that says nothing is nonsense', () => {
    const adapter = new Bench().adapter({}, provider);
    for (const body of [undefined, null, 'text', {}, { data: [] }]) {
      const answer = { model: defaultModel, jobId: 'job', submittedAtMs: 0, body };
      expect(() => adapter.parseResponse(answer)).toThrow(
        expect.objectContaining({ kind: 'invalid_response', jobId: 'job' }),
      );
    }
  });

  test('a seed and a shape are heeded', async () => {
    const bench = new Bench();
    const adapter = bench.adapter({}, provider);
    const request = adapter.formatRequest(PROMPT, { seed: 7, aspectRatio: '16:9' });
    const jobId = await adapter.submitJob(request);
    while ((await adapter.checkStatus(jobId)).status === 'pending') {
      // Until it is ready.
    }
    const { dimensions } = (await adapter.fetchResult(jobId)).metadata;
    const [width = 0, height = 0] = (dimensions ?? '').split('x').map(Number);
    expect(width / height).toBeCloseTo(16 / 9, 1);
  });
});
