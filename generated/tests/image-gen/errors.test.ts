// Every way in which POST /generate fails: status, code, number of calls to the provider, and nothing stored or charged.
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { MockFault } from '@/tests/provider-adapters/mock-ideogram';
import {
  type Answer,
  answerOf,
  elapse,
  generateRequest,
  PROMPT,
  START,
  startSystem,
  type TestSystem,
  UUID,
} from './support';

let system: TestSystem;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(START);
  system = await startSystem();
});

afterEach(() => {
  vi.useRealTimers();
});

/** The answer is an error of the contract, and left nothing behind. */
async function expectError({ status, body }: Answer, expected: [status: number, code: string]) {
  expect([status, body.code]).toEqual(expected);
  expect(body).toEqual({
    error: expect.any(String),
    code: expected[1],
    request_id: expect.stringMatching(UUID),
  });
  expect(await system.objects()).toEqual([]);
  expect(await system.usage()).toEqual([]);
}

async function raw(body: string, headers: Record<string, string> = {}): Promise<Answer> {
  const request = generateRequest(body, { key: system.keys.user, headers });
  return await answerOf(await system.fetch(request));
}

describe('400: a body', () => {
  test.each<[string, object, string]>([
    ['without a prompt', { prompt: undefined }, 'prompt'],
    ['with an empty prompt', { prompt: '  \n ' }, 'prompt'],
    ['with a prompt that is too long', { prompt: 'x'.repeat(10_001) }, 'prompt'],
    ['with a prompt that is no text', { prompt: 7 }, 'prompt'],
    ['with an unknown field', { size: 'large' }, 'size'],
    ['with an unknown model', { model: 'planted-model' }, 'model'],
    ['with a model that only the provider knows', { model: 'ideogram-v2-turbo' }, 'model'],
    ['with an unknown provider', { provider: 'planted-provider' }, 'provider'],
    [
      'with a model of another provider',
      { provider: 'development', model: 'ideogram-v2' },
      'model',
    ],
    ['with a request id that is no UUID', { request_id: 'again' }, 'request_id'],
    ['with null for an id', { project_id: null }, 'project_id'],
    ['with an instance that is no identifier', { instance_id: 'Not An Id' }, 'instance_id'],
    ['with a project that is no identifier', { project_id: 'Not An Id' }, 'project_id'],
  ])('%s', async (_, body, field) => {
    const refused = await system.generate(body);
    await expectError(refused, [400, 'VALIDATION_FAILED']);
    expect(refused.body.error).toContain(`${field}: `);
    expect(refused.body.error).not.toContain('planted');
    expect(system.mock.journal).toEqual([]);
  });

  test.each([
    ['that is no JSON', '{"prompt": ', {}],
    ['that is no object', '["prompt"]', {}],
    ['of another type', '{}', { 'Content-Type': 'text/plain' }],
  ])('%s', async (_, body, headers) => {
    await expectError(await raw(body, headers), [400, 'VALIDATION_FAILED']);
  });

  test('may have 10000 characters of prompt, but not more than 64 KiB in all', async () => {
    expect((await system.generate({ prompt: ` ${'x'.repeat(10_000)} ` })).status).toBe(200);
    const { status, body } = await raw(JSON.stringify({ prompt: 'x'.repeat(65_536) }));
    expect([status, body.code]).toEqual([413, 'PAYLOAD_TOO_LARGE']);
  });

  test('that contradicts the header, or its own project', async () => {
    const headers = { 'X-Instance-ID': 'production' };
    await expectError(await system.generate({}, { headers }), [400, 'VALIDATION_FAILED']);
    const { keys } = system;
    const other = await system.generate({ project_id: 'content-forge' }, { key: keys.admin });
    await expectError(other, [400, 'VALIDATION_FAILED']);
  });

  test('that names no instance where several are within reach', async () => {
    const { keys } = system;
    const refused = await system.generate({ instance_id: undefined }, { key: keys.admin });
    await expectError(refused, [400, 'VALIDATION_FAILED']);
  });

  test('is refused before its key is looked at', async () => {
    await expectError(await system.generate({ prompt: '' }, { key: null }), [
      400,
      'VALIDATION_FAILED',
    ]);
  });

  test('for a provider that the instance has no key for', async () => {
    const refused = await system.generate({ provider: 'development' });
    await expectError(refused, [400, 'VALIDATION_FAILED']);
  });
});

describe('who may not', () => {
  test.each([
    ['without a key', null],
    ['with a malformed key', 'mas_planted'],
    ['with an unknown key', 'mas_00000000000000000000000000000000000000000001yhBtb'],
  ])('401 %s', async (_, key) => {
    const refused = await system.generate({}, { key });
    await expectError(refused, [401, 'AUTH_FAILED']);
    expect(refused.headers.get('WWW-Authenticate')).toBe('Bearer');
  });

  test('403 with a key that has no access to the instance', async () => {
    const refused = await system.generate({}, { key: system.keys.stranger });
    await expectError(refused, [403, 'FORBIDDEN']);
  });

  test.each([[{ instance_id: 'unknown' }], [{ project_id: 'unknown' }]])(
    '404 for %o',
    async (named) => {
      await expectError(await system.generate(named), [404, 'NOT_FOUND']);
    },
  );

  test.each(['Not An Id', '', '  '])('404 for the header "%s", no identifier', async (header) => {
    const headers = { 'X-Instance-ID': header };
    const refused = await system.generate({ instance_id: undefined }, { headers });
    await expectError(refused, [404, 'NOT_FOUND']);
    expect(refused.body.error).toContain('instance');
    // A credential is asked for first, and a body that names an instance contradicts it.
    const anonymous = await system.generate({ instance_id: undefined }, { headers, key: null });
    await expectError(anonymous, [401, 'AUTH_FAILED']);
    await expectError(await system.generate({}, { headers }), [400, 'VALIDATION_FAILED']);
  });
});

describe('a provider', () => {
  test.each<[string, MockFault, number, string, number]>([
    ['fails with 500', { kind: 'status', status: 500 }, 502, 'PROVIDER_ERROR', 3],
    ['fails with 503', { kind: 'status', status: 503 }, 502, 'PROVIDER_ERROR', 3],
    ['cannot be reached', { kind: 'no-connection' }, 502, 'PROVIDER_ERROR', 3],
    ['breaks off', { kind: 'drop-body' }, 502, 'PROVIDER_ERROR', 3],
    ['talks nonsense', { kind: 'malformed-json' }, 502, 'PROVIDER_ERROR', 3],
    ['does not know our key', { kind: 'status', status: 401 }, 502, 'PROVIDER_ERROR', 1],
    ['wants money', { kind: 'status', status: 402 }, 502, 'PROVIDER_ERROR', 1],
    ['forbids it', { kind: 'status', status: 403 }, 502, 'PROVIDER_ERROR', 1],
    ['does not understand us', { kind: 'status', status: 400 }, 502, 'PROVIDER_ERROR', 1],
    ['gives up on us', { kind: 'status', status: 408 }, 502, 'PROVIDER_ERROR', 1],
    ['refuses the prompt', { kind: 'status', status: 422 }, 422, 'PROVIDER_REJECTED', 1],
    ['has too much to do', { kind: 'inflight-limit' }, 429, 'RATE_LIMITED', 3],
  ])('%s', async (_, fault, status, code, calls) => {
    system.mock.always('submit', fault);
    await expectError(await system.generate(), [status, code]);
    expect(system.mock.requestsOf('submit')).toHaveLength(calls);
  });

  test.each(['ideogram-4-5', 'ideogram-v2'])('withholds an unsafe image of %s', async (model) => {
    system.mock.next('submit', { kind: 'unsafe' });
    await expectError(await system.generate({ model }), [422, 'PROVIDER_REJECTED']);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
    expect(system.mock.requestsOf('image')).toEqual([]);
  });

  test('gives a job up', async () => {
    system.mock.next('submit', { kind: 'failed', reason: 'internal_error' });
    await expectError(await system.generate(), [502, 'PROVIDER_ERROR']);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
  });

  test.each<MockFault>([
    { kind: 'inflight-limit' },
    { kind: 'status', status: 500 },
    { kind: 'no-connection' },
  ])('that fails with %o twice succeeds in the end', async (fault) => {
    system.mock.next('submit', fault, 2);
    expect((await system.generate({ model: 'ideogram-v2' })).status).toBe(200);
    expect(system.mock.requestsOf('submit')).toHaveLength(3);
    // Half of 250 and of 500 milliseconds: full jitter with the random number 0.5.
    expect(system.pauses).toEqual([125, 250]);
    expect(await system.usage()).toHaveLength(1);
  });

  test('is given the time that it asks for, unless that is too long', async () => {
    system.mock.next('submit', { kind: 'status', status: 429, retryAfter: '7' });
    expect((await system.generate({ model: 'ideogram-v2' })).status).toBe(200);
    expect(system.pauses).toEqual([7_000]);
    system.mock.next('submit', { kind: 'status', status: 429, retryAfter: '300' });
    const refused = await system.generate();
    expect([refused.status, refused.headers.get('Retry-After')]).toEqual([429, '300']);
    expect(system.pauses).toHaveLength(1);
  });

  test('whose status cannot be had for a moment is asked again', async () => {
    system.mock.next('poll', { kind: 'status', status: 500 }, 3);
    system.mock.next('poll', { kind: 'status', status: 429, retryAfter: '9' });
    expect((await system.generate()).status).toBe(200);
    expect(system.pauses).toContain(9_000);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
  });

  test('whose status cannot be had at all opens the circuit, and is not asked further', async () => {
    system.mock.always('poll', { kind: 'status', status: 500 });
    const failed = await system.generate();
    await expectError(failed, [502, 'PROVIDER_ERROR']);
    expect(system.mock.requestsOf('poll')).toHaveLength(5);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
  });

  test('that has lost the job is not asked for another one', async () => {
    system.mock.next('poll', { kind: 'status', status: 404 });
    await expectError(await system.generate(), [502, 'PROVIDER_ERROR']);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
  });
});

describe('an image', () => {
  test.each<[string, MockFault, number, number]>([
    ['whose link has expired', { kind: 'status', status: 404 }, 502, 1],
    ['that is none', { kind: 'not-an-image', contentType: 'text/html' }, 502, 1],
    ['that is too large', { kind: 'huge-image', bytes: 21 * 1024 * 1024, declared: true }, 502, 1],
  ])('%s', async (_, fault, status, calls) => {
    system.mock.always('image', fault);
    await expectError(await system.generate({ model: 'ideogram-v2' }), [status, 'PROVIDER_ERROR']);
    expect(system.mock.requestsOf('image')).toHaveLength(calls);
  });

  test.each<[string, MockFault]>([
    ['that cannot be had', { kind: 'status', status: 503 }],
    ['that too many want', { kind: 'status', status: 429 }],
    ['that breaks off', { kind: 'drop-body' }],
  ])('%s is fetched again as long as there is time', async (_, fault) => {
    system.mock.always('image', fault);
    await expectError(await system.generate({ model: 'ideogram-v2' }), [502, 'PROVIDER_ERROR']);
    const waitedMs = Date.now() - START;
    expect(waitedMs).toBeGreaterThan(50_000);
    expect(waitedMs).toBeLessThanOrEqual(60_000);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
    expect(Math.max(...system.pauses)).toBeLessThanOrEqual(5_000);
  });

  test('behind a link that is none is given up at once', async () => {
    const fields = { url: 'http://ideogram.ai/image.png' };
    system.mock.always('submit', { kind: 'wrong-fields', fields });
    await expectError(await system.generate({ model: 'ideogram-v2' }), [502, 'PROVIDER_ERROR']);
    expect(system.pauses).toEqual([]);
  });

  test('whose link asks to wait is waited for', async () => {
    system.mock.next('image', { kind: 'status', status: 429, retryAfter: '7' });
    expect((await system.generate({ model: 'ideogram-v2' })).status).toBe(200);
    expect(system.pauses).toEqual([7_000]);
  });

  test('that breaks off many times is fetched again, not generated again', async () => {
    system.mock.next('image', { kind: 'drop-body' }, 6);
    expect((await system.generate()).status).toBe(200);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
    expect(await system.objects()).toHaveLength(1);
  });
});

describe('an open circuit', () => {
  test('refuses at once, and is tried again after 30 seconds', async () => {
    system.mock.always('submit', { kind: 'status', status: 500 });
    const first = await system.generate();
    const second = await system.generate();
    expect([first.status, second.status]).toEqual([502, 502]);
    // The fifth failure in a row has opened it.
    expect(system.mock.requestsOf('submit')).toHaveLength(5);
    const refused = await system.generate();
    await expectError(refused, [502, 'PROVIDER_ERROR']);
    expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(25);
    expect(system.mock.requestsOf('submit')).toHaveLength(5);
    system.mock.reset();
    elapse(31_000);
    expect((await system.generate()).status).toBe(200);
  });

  test('keeps no image back that a call of before it opened brings', async () => {
    const { reached, release } = system.holdProvider();
    const { response, settled } = system.begin(
      generateRequest(
        { prompt: PROMPT, instance_id: system.instanceId, model: 'ideogram-v2' },
        { key: system.keys.user },
      ),
    );
    await reached;
    system.mock.always('submit', { kind: 'status', status: 500 });
    await system.generate();
    await system.generate();
    expect(system.mock.requestsOf('submit')).toHaveLength(5);
    system.mock.reset();
    release();
    expect((await answerOf(await response)).status).toBe(200);
    await settled();
  });

  test('is opened by calls that hang, each counted once its time is over', async () => {
    for (let count = 0; count < 5; count += 1) {
      const { reached } = system.holdProvider();
      const { response, settled } = system.begin(
        generateRequest(
          { prompt: PROMPT, instance_id: system.instanceId, model: 'ideogram-v2' },
          { key: system.keys.user },
        ),
      );
      await reached;
      system.endTime();
      expect((await response).status).toBe(504);
      await settled();
    }
    await expectError(await system.generate(), [502, 'PROVIDER_ERROR']);
    expect(system.mock.journal).toEqual([]);
  });

  test('is not opened by what the caller caused, nor by a provider with too much to do', async () => {
    system.mock.next('submit', { kind: 'status', status: 422 }, 6);
    for (let count = 0; count < 6; count += 1) {
      expect((await system.generate()).status).toBe(422);
    }
    system.mock.next('submit', { kind: 'inflight-limit' }, 6);
    expect((await system.generate()).status).toBe(429);
    expect((await system.generate()).status).toBe(429);
    system.mock.next('submit', { kind: 'status', status: 408 }, 6);
    for (let count = 0; count < 6; count += 1) {
      expect((await system.generate()).status).toBe(502);
    }
    expect((await system.generate({ model: 'ideogram-v2' })).status).toBe(200);
  });
});

describe('500: a fault of ours', () => {
  /** The binding, with another method in place of one of its own. */
  function withMethod<Binding extends object>(binding: Binding, name: string, method: unknown) {
    return new Proxy(binding, {
      get: (target, property) => {
        const own: unknown = Reflect.get(target, property);
        return property === name ? method : typeof own === 'function' ? own.bind(target) : own;
      },
    });
  }
  const failing = () => Promise.reject(new Error('planted: internal error (10001)'));

  test('a bucket that fails: nothing is charged', async () => {
    system.env = { ...system.env, IMAGES: withMethod(env.IMAGES, 'put', failing) };
    const { status, body } = await system.generate();
    expect([status, body.code]).toEqual([500, 'INTERNAL_ERROR']);
    expect(JSON.stringify(body)).not.toContain('planted');
    expect(await system.usage()).toEqual([]);
  });

  test('a limiter that cannot be reached: the provider is not asked', async () => {
    const RATE_LIMITER = withMethod(system.env.RATE_LIMITER, 'get', () => ({
      checkLimit: failing,
    }));
    system.env = { ...system.env, RATE_LIMITER };
    await expectError(await system.generate(), [500, 'INTERNAL_ERROR']);
    expect(system.mock.journal).toEqual([]);
  });

  test('a circuit breaker that cannot be reached lets calls pass', async () => {
    const CIRCUIT_BREAKER = withMethod(system.env.CIRCUIT_BREAKER, 'get', () => ({
      ask: failing,
      tell: failing,
    }));
    system.env = { ...system.env, CIRCUIT_BREAKER };
    expect((await system.generate({ model: 'ideogram-v2' })).status).toBe(200);
  });

  /** D1, of which the first insertions of usage fail. */
  function failingUsage(failures: number, message: string) {
    let left = failures;
    return withMethod(env.DB, 'prepare', (sql: string) => {
      if (sql.includes('INSERT INTO usage_logs') && left > 0) {
        left -= 1;
        return { bind: () => ({ run: () => Promise.reject(new Error(message)) }) };
      }
      return env.DB.prepare(sql);
    });
  }

  test('a database that fails for a moment is asked again', async () => {
    system.env = { ...system.env, DB: failingUsage(1, 'D1_ERROR: storage caused object to reset') };
    expect((await system.generate({ model: 'ideogram-v2' })).status).toBe(200);
    expect(await system.usage()).toHaveLength(1);
  });

  test('a database that goes on failing: no answer without a row of usage', async () => {
    system.env = { ...system.env, DB: failingUsage(9, 'D1_ERROR: planted') };
    const { status, body } = await system.generate({ model: 'ideogram-v2' });
    expect([status, body.code]).toEqual([500, 'INTERNAL_ERROR']);
    expect(await system.usage()).toEqual([]);
  });

  test('a project that is deleted meanwhile is charged to the organisation', async () => {
    const { projectId, instanceId, userId } = system;
    system.env = {
      ...system.env,
      IMAGES: withMethod(env.IMAGES, 'put', async (...parameters: Parameters<R2Bucket['put']>) => {
        await system.manage('DELETE', `/project/${projectId}`);
        return await env.IMAGES.put(...parameters);
      }),
    };
    expect((await system.generate({ project_id: projectId })).status).toBe(200);
    expect(await system.usage()).toMatchObject([
      { org_id: 'example-org', project_id: null, instance_id: instanceId, user_id: userId },
    ]);
  });

  test.each(['soon', '0', '-1', '9999999'])(
    'a time limit of %j is no time limit',
    async (GENERATION_TIMEOUT_MS) => {
      system.env = { ...system.env, GENERATION_TIMEOUT_MS };
      await expectError(await system.generate(), [500, 'INTERNAL_ERROR']);
    },
  );

  test('a secret that is missing', async () => {
    system.env = { ...system.env, CACHE_ENCRYPTION_KEY: '' };
    const refused = await system.generate({ prompt: PROMPT });
    await expectError(refused, [500, 'INTERNAL_ERROR']);
    expect(refused.body.error).not.toContain('CACHE_ENCRYPTION_KEY');
  });
});
