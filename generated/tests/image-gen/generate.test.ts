// POST /generate from end to end, with the mock Ideogram: what it answers, stores and records.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { IdeogramAdapter } from '@/workers/shared/provider-adapters/ideogram-adapter';
import { elapse, ORIGIN, PROMPT, START, startSystem, type TestSystem, UUID } from './support';

let system: TestSystem;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(START);
  system = await startSystem();
});

afterEach(() => {
  vi.useRealTimers();
});

describe('an image', () => {
  test('is generated, stored, charged and served under its URL', async () => {
    const { status, body, headers } = await system.generate({ project_id: system.projectId });
    expect(body).toEqual({
      success: true,
      image_url: `${ORIGIN}/images/${body.r2_path}`,
      r2_path: expect.stringMatching(
        new RegExp(`^${system.instanceId}/${system.projectId}/${START}_image-[0-9a-f-]{36}\\.png$`),
      ),
      metadata: {
        provider: 'ideogram',
        model: 'ideogram-4-5',
        dimensions: '1024x1024',
        generation_time_ms: expect.any(Number),
      },
      request_id: expect.stringMatching(UUID),
    });
    expect(status).toBe(200);
    expect(headers.get('X-Request-ID')).toBe(body.request_id);
    expect(headers.get('Cache-Control')).toBe('no-store');
    expect(headers.get('X-Content-Type-Options')).toBe('nosniff');

    const [imageCall] = system.mock.requestsOf('image');
    const original = await system.mock.fetch(new Request(`https://ideogram.ai${imageCall?.path}`));
    const served = await system.fetch(new Request(String(body.image_url)));
    expect(served.headers.get('Content-Type')).toBe('image/png');
    expect(await served.arrayBuffer()).toEqual(await original.arrayBuffer());

    expect(await system.usage()).toEqual([
      {
        log_id: expect.stringMatching(UUID),
        org_id: 'example-org',
        instance_id: system.instanceId,
        project_id: system.projectId,
        user_id: system.userId,
        request_id: body.request_id,
        timestamp: expect.stringMatching(/^2035-03-01T10:00:/),
        provider: 'ideogram',
        model: 'ideogram-4-5',
        tokens_used: 0,
        cost: 60_000,
        created_at: expect.stringMatching(/^2035-03-01T10:00:/),
      },
    ]);
  });

  test.each(['ideogram-v2', 'ideogram-v3', 'ideogram-v4'])(
    'by %s comes in the way of its family',
    async (model) => {
      const { status, body } = await system.generate({ model });
      expect([status, body.metadata]).toEqual([200, expect.objectContaining({ model })]);
      expect(await system.usage()).toMatchObject([{ model }]);
    },
  );

  test('by another provider is made without anybody else noticing', async () => {
    system = await startSystem({ providerKeys: { development: 'any-key' } });
    const { body } = await system.generate({ model: 'development-1' });
    expect(body.metadata).toMatchObject({ provider: 'development', dimensions: '512x512' });
    expect(system.mock.journal).toEqual([]);
    expect(await system.usage()).toMatchObject([{ provider: 'development', cost: 1_000 }]);
    expect((await system.fetch(new Request(String(body.image_url)))).status).toBe(200);
  });

  test('lies in the bucket of its instance, and has the URL that is configured', async () => {
    system = await startSystem({
      r2Bucket: 'prod-images',
      overrides: { IMAGE_BASE_URL: 'https://cdn.example.com/{bucket}' },
    });
    const { body } = await system.generate();
    expect(body.image_url).toBe(`https://cdn.example.com/prod-images/${body.r2_path}`);
    expect(await system.env.IMAGES.head(String(body.r2_path))).toBeNull();
    expect(await system.objects()).toEqual([body.r2_path]);
    expect((await system.get(`/images/${body.r2_path}`)).status).toBe(200);
  });

  test('carries its metadata in R2', async () => {
    const { body } = await system.generate();
    const object = await system.env.IMAGES.head(String(body.r2_path));
    expect(object?.customMetadata).toEqual({
      instance_id: system.instanceId,
      project_id: 'default',
      provider: 'ideogram',
      model: 'ideogram-4-5',
      prompt: PROMPT,
      generation_timestamp: new Date(START).toISOString(),
    });
  });
});

describe('what is an image', () => {
  test.each(['image/jpeg', 'Image/GIF; charset=binary'])(
    'is said by the Content-Type %s, under which it is served',
    async (contentType) => {
      system.mock.next('image', { kind: 'not-an-image', contentType });
      const { status, body } = await system.generate();
      const type = contentType.split(';')[0]?.toLowerCase() ?? '';
      expect(status).toBe(200);
      expect(body.r2_path).toMatch(type === 'image/jpeg' ? /\.jpg$/ : /\.gif$/);
      const served = await system.fetch(new Request(String(body.image_url)));
      expect(served.headers.get('Content-Type')).toBe(type);
      expect(await served.text()).toBe('<html></html>');
    },
  );

  test.each(['submit', 'poll'] as const)(
    'says how large it is, where the provider does not (%s)',
    async (stage) => {
      system.mock.always(stage, { kind: 'missing-fields', fields: ['resolution'] });
      const model = stage === 'submit' ? 'ideogram-v2' : 'ideogram-4-5';
      const { status, body } = await system.generate({ model });
      expect(status).toBe(200);
      expect(body.metadata).toMatchObject({ dimensions: '1024x1024' });
    },
  );

  test('has a size that somebody says: else it is none', async () => {
    system.mock.always('submit', { kind: 'missing-fields', fields: ['resolution'] });
    system.mock.always('image', { kind: 'not-an-image', contentType: 'image/png' });
    const { status, body } = await system.generate({ model: 'ideogram-v2' });
    expect([status, body.code]).toEqual([502, 'PROVIDER_ERROR']);
    expect(system.mock.requestsOf('image')).toHaveLength(1);
    expect(await system.objects()).toEqual([]);
    expect(await system.usage()).toEqual([]);
  });
});

describe('the time of a generation', () => {
  test.each(['ideogram-v2', 'ideogram-v4'])(
    'of %s counts from the first call, however many follow, until the answer with the image',
    async (model) => {
      system.mock.next('submit', { kind: 'status', status: 500 });
      system.mock.next('submit', { kind: 'status', status: 429, retryAfter: '7' });
      system.mock.next('submit', { kind: 'latency', milliseconds: 1_000 });
      system.mock.next('image', { kind: 'latency', milliseconds: 900 });
      const { body } = await system.generate({ model });
      const looksMs = system.pauses.slice(2).reduce((sum, pauseMs) => sum + pauseMs, 0);
      expect(system.pauses.slice(0, 2)).toEqual([125, 7_000]);
      expect(body.metadata).toMatchObject({ generation_time_ms: 8_125 + looksMs });
    },
  );
});

describe('the key', () => {
  test('may stand in the body if there is no header', async () => {
    const api_key = system.keys.user;
    expect((await system.generate({ api_key }, { key: null })).status).toBe(200);
    const wrong = await system.generate({ api_key }, { key: 'mas_wrong' });
    expect([wrong.status, wrong.body.code]).toEqual([401, 'AUTH_FAILED']);
  });

  test('of a project generates for that project, and for no person', async () => {
    const key = await system.newKey({ project_id: system.projectId });
    const { body } = await system.generate({ instance_id: undefined }, { key });
    expect(body.r2_path).toContain(`${system.instanceId}/${system.projectId}/`);
    expect(await system.usage()).toMatchObject([{ project_id: system.projectId, user_id: null }]);
  });
});

describe('the instance', () => {
  test.each([
    ['the header', 'header'],
    ['the project', 'project'],
    ['being the only one within reach', 'nothing'],
  ])('may be meant by %s', async (_, means) => {
    const { status, body } = await system.generate(
      {
        instance_id: undefined,
        ...(means === 'project' ? { project_id: system.projectId } : {}),
      },
      { headers: means === 'header' ? { 'X-Instance-ID': system.instanceId } : {} },
    );
    expect(status).toBe(200);
    expect(body.r2_path).toMatch(new RegExp(`^${system.instanceId}/`));
  });
});

describe('the id of a request', () => {
  const id = '0C7F1B9E-9D0A-4A55-8F3C-2F5D0E4B7A11';

  test('is the one of the body, else that of the header, else a new one', async () => {
    const ofHeader = await system.generate({}, { headers: { 'X-Request-ID': id } });
    expect(ofHeader.body.request_id).toBe(id.toLowerCase());
    const headers = { 'X-Request-ID': crypto.randomUUID() };
    const ofBody = await system.generate({ request_id: id }, { headers });
    expect(ofBody.body.request_id).toBe(id.toLowerCase());
    expect(ofBody.headers.get('X-Request-ID')).toBe(id.toLowerCase());
    const ofNobody = await system.generate({}, { headers: { 'X-Request-ID': 'no UUID' } });
    expect(ofNobody.body.request_id).toMatch(UUID);
    expect((await system.usage()).map((row) => row.request_id)).toEqual([
      id.toLowerCase(),
      id.toLowerCase(),
      ofNobody.body.request_id,
    ]);
  });

  test('also stands in an answer that refuses', async () => {
    const refused = await system.generate({ request_id: id, project_id: 'unknown' });
    expect([refused.status, refused.body.request_id]).toEqual([404, id.toLowerCase()]);
    const headers = { 'X-Request-ID': crypto.randomUUID(), 'X-Instance-ID': 'production' };
    const contradicted = await system.generate({ request_id: id }, { headers });
    expect([contradicted.status, contradicted.body.request_id]).toEqual([400, id.toLowerCase()]);
    // Unless the body is not valid: then nothing in it counts.
    const invalid = await system.generate({ request_id: id, prompt: '' }, { headers });
    expect([invalid.status, invalid.body.request_id]).toEqual([400, headers['X-Request-ID']]);
  });
});

describe('admission', () => {
  test('of 50 requests at once against a limit of 10 admits exactly 10', async () => {
    system = await startSystem({
      providerKeys: { development: 'any-key' },
      limits: { development: { rpm: 10 } },
    });
    const burst = async (size: number) => {
      const answers = await Promise.all(
        Array.from({ length: size }, () => system.generate({ provider: 'development' })),
      );
      return answers.map(({ status }) => status).toSorted();
    };
    expect(await burst(50)).toEqual([...Array(10).fill(200), ...Array(40).fill(429)]);
    expect(await system.usage()).toHaveLength(10);
    expect(await system.objects()).toHaveLength(10);
    elapse(61_000);
    expect(await burst(12)).toEqual([...Array(10).fill(200), 429, 429]);
  });

  test('that is refused says when to come again', async () => {
    system = await startSystem({ limits: { ideogram: { rpm: 1 } } });
    await system.generate();
    const admittedAt = system.mock.requestsOf('submit')[0]?.at.getTime() ?? 0;
    vi.setSystemTime(admittedAt + 42_000);
    const { status, body, headers } = await system.generate();
    expect([status, body.code, headers.get('Retry-After')]).toEqual([429, 'RATE_LIMITED', '18']);
    expect(Object.keys(body).toSorted()).toEqual(['code', 'error', 'request_id']);
  });
});

describe('tokens', () => {
  test('that a provider counts are settled after the call, and held against the limit', async () => {
    system = await startSystem({ limits: { ideogram: { rpm: 100, tpm: 100 } } });
    const original = IdeogramAdapter.prototype.fetchResult;
    const counting = vi
      .spyOn(IdeogramAdapter.prototype, 'fetchResult')
      .mockImplementation(async function (this: IdeogramAdapter, jobId) {
        const result = await original.call(this, jobId);
        return { ...result, usage: { ...result.usage, tokens: 80 } };
      });
    const statuses: number[] = [];
    for (let count = 0; count < 3; count += 1) {
      statuses.push((await system.generate({ model: 'ideogram-v2' })).status);
    }
    counting.mockRestore();
    expect(statuses).toEqual([200, 200, 429]);
    expect((await system.usage()).map(({ tokens_used }) => tokens_used)).toEqual([80, 80]);
  });
});

describe('the Config Service', () => {
  test('is asked once, and not missed afterwards', async () => {
    await system.generate();
    await system.generate();
    expect(system.configService.calls).toBe(1);
    system.configService.isUp = false;
    elapse(6 * 60 * 1000);
    expect((await system.generate()).status).toBe(200);
    const entries = (await system.logs()).filter(({ message }) => message === 'request completed');
    expect(entries.map(({ metadata }) => metadata?.config_source)).toEqual([
      'fetched',
      'fresh',
      'stale',
    ]);
  });

  test('is needed for an instance that nobody has asked for yet', async () => {
    system.configService.isUp = false;
    const { status, body } = await system.generate();
    expect([status, body.code]).toEqual([503, 'CONFIG_UNAVAILABLE']);
    expect(system.mock.journal).toEqual([]);
  });
});
