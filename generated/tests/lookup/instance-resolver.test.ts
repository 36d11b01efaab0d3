// Lookups against the real Config Service, which is then taken away in every way that it can fail.
import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { authMiddleware } from '@/infrastructure/auth/middleware';
import type { AuthContext } from '@/infrastructure/auth/types';
import { FRESH_FOR_MS } from '@/infrastructure/lookup/cache';
import { CONFIG_SERVICE_TIMEOUT_MS } from '@/infrastructure/lookup/config-client';
import { type LookupOptions, resolveInstance } from '@/infrastructure/lookup/instance-resolver';
import {
  type LookupContext,
  type LookupEnv,
  LookupError,
  type ResolvedInstance,
} from '@/infrastructure/lookup/types';
import {
  type Caller,
  IDS,
  SERVICE_TOKEN,
  START,
  startService,
  type TestService,
} from '@/tests/config-service/support';

const IDEOGRAM_KEY = 'ideogram-secret-0123456789';
const REQUEST_ID = '1b4e28ba-2fa1-41d2-883f-0016d3cca427';

let service: TestService;
let lookupEnv: LookupEnv;
/** The requests that reached the Config Service. */
let requests: Request[];
let reports: unknown[];

async function authOf(caller: Caller): Promise<AuthContext> {
  const result = await authMiddleware(
    new Request('https://example.com/', {
      headers: { Authorization: `Bearer ${service.keyOf(caller)}` },
    }),
    env,
  );
  if (!result.authorized) {
    throw new Error(`${caller} has no valid key`);
  }
  return result.auth;
}

async function resolve(
  caller: Caller,
  request: Pick<LookupContext, 'instanceId' | 'projectId'> = {},
  options: LookupOptions = {},
): Promise<ResolvedInstance> {
  return await resolveInstance(
    { auth: await authOf(caller), requestId: REQUEST_ID, ...request },
    lookupEnv,
    { now: () => service.clock.now, report: (error) => reports.push(error), ...options },
  );
}

/** Status and code with which a lookup fails. */
async function failureOf(lookup: Promise<ResolvedInstance>): Promise<[number, string]> {
  const outcome: unknown = await lookup.catch((error: unknown) => error);
  if (!(outcome instanceof LookupError)) {
    throw new Error('it did not fail with a LookupError', { cause: outcome });
  }
  return [outcome.status, outcome.code];
}

function advance(elapsed_ms: number): void {
  service.clock.now = new Date(service.clock.now.getTime() + elapsed_ms);
}

beforeEach(async () => {
  service = await startService();
  requests = [];
  reports = [];
  lookupEnv = {
    DB: env.DB,
    CONFIG_CACHE: env.CONFIG_CACHE,
    CONFIG_SERVICE: {
      fetch: (request) => {
        requests.push(request);
        return service.send(request);
      },
    },
    SERVICE_TOKEN,
    CACHE_ENCRYPTION_KEY: 'AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=',
  };
  await service.call('superadmin', 'PATCH', '/instance/production', {
    body: { config: { api_keys: { ideogram: IDEOGRAM_KEY } } },
  });
});

describe('which instance', () => {
  test('the one that the request names', async () => {
    expect(await resolve('superadmin', { instanceId: 'production' })).toEqual({
      instance_id: 'production',
      org_id: IDS.orgId,
      name: 'Production',
      api_keys: { ideogram: IDEOGRAM_KEY },
      rate_limits: { ideogram: { rpm: 500, tpm: 100_000 } },
      worker_urls: {},
      r2_bucket: 'production-images',
      authorized_users: [],
      source: 'service',
      project_id: null,
    });
  });

  test('the one of the project', async () => {
    expect(await resolve('admin', { projectId: 'content-forge' })).toMatchObject({
      instance_id: 'production',
      project_id: 'content-forge',
    });
    expect(
      await resolve('user', { projectId: 'playground', instanceId: 'development' }),
    ).toMatchObject({ instance_id: 'development', project_id: 'playground' });
  });

  test('the only one within reach, if nothing is named', async () => {
    expect(await resolve('user')).toMatchObject({ instance_id: 'development', project_id: null });
    expect(await resolve('otherAdmin', { instanceId: null, projectId: null })).toMatchObject({
      instance_id: 'acme-main',
    });
  });

  test("that of a project's key, together with its project", async () => {
    expect(await resolve('project')).toMatchObject({
      instance_id: 'development',
      project_id: 'playground',
    });
  });

  test('none, if several are within reach and nothing is named', async () => {
    expect(await failureOf(resolve('admin'))).toEqual([400, 'VALIDATION_FAILED']);
  });

  test('none, if none is within reach', async () => {
    await service.call('admin', 'DELETE', `/instance/development/access/${IDS.developerId}`);
    expect(await failureOf(resolve('user'))).toEqual([400, 'VALIDATION_FAILED']);
  });

  test('none, if instance and project contradict each other', async () => {
    for (const instanceId of ['development', 'none', 'No Identifier', '']) {
      const request = { instanceId, projectId: 'content-forge' };
      expect(await failureOf(resolve('admin', request))).toEqual([400, 'VALIDATION_FAILED']);
    }
    // A project that does not exist contradicts nothing.
    const unknown = { instanceId: 'No Identifier', projectId: 'none' };
    expect(await failureOf(resolve('admin', unknown))).toEqual([404, 'NOT_FOUND']);
  });
});

describe('access', () => {
  test.each<[Caller, Pick<LookupContext, 'instanceId' | 'projectId'>]>([
    ['user', { instanceId: 'production' }],
    ['user', { projectId: 'content-forge' }],
    ['project', { instanceId: 'production' }],
    ['admin', { instanceId: 'acme-main' }],
    ['otherAdmin', { projectId: 'playground' }],
  ])('%s asking for %j is 403', async (caller, request) => {
    expect(await failureOf(resolve(caller, request))).toEqual([403, 'FORBIDDEN']);
  });

  test("a project's key does not reach a neighbour in the same instance", async () => {
    await service.call('admin', 'POST', '/project', {
      body: { project_id: 'neighbour', instance_id: 'development', name: 'Neighbour' },
    });
    expect(await failureOf(resolve('project', { projectId: 'neighbour' }))).toEqual([
      403,
      'FORBIDDEN',
    ]);
  });

  test.each([
    { instanceId: 'none' },
    { instanceId: '../me' },
    { instanceId: '' },
    { projectId: 'none' },
    { projectId: "x' OR 1" },
  ])('what does not exist is 404: %j', async (request) => {
    expect(await failureOf(resolve('superadmin', request))).toEqual([404, 'NOT_FOUND']);
  });

  test('a cached copy does not widen access, nor does a stale one', async () => {
    await resolve('admin', { instanceId: 'production' });
    expect(await failureOf(resolve('user', { instanceId: 'production' }))).toEqual([
      403,
      'FORBIDDEN',
    ]);
    advance(FRESH_FOR_MS);
    lookupEnv.CONFIG_SERVICE = { fetch: () => Promise.reject(new Error('down')) };
    expect(await failureOf(resolve('user', { instanceId: 'production' }))).toEqual([
      403,
      'FORBIDDEN',
    ]);
  });
});

describe('the configuration', () => {
  test('has every entry, whatever its name, also from the cache', async () => {
    const rate_limits = { constructor: { rpm: 3, tpm: 4 }, prototype: { rpm: 5 } };
    const worker_urls = { constructor: 'https://a.example.com' };
    const api_keys = { constructor: 'secret-of-some-provider' };
    await service.call('superadmin', 'PATCH', '/instance/development', {
      body: { config: { rate_limits, worker_urls, api_keys } },
    });
    for (const source of ['service', 'cache']) {
      const resolved = await resolve('user');
      expect(resolved.source).toBe(source);
      expect(Object.entries(resolved.rate_limits)).toEqual(
        expect.arrayContaining(Object.entries(rate_limits)),
      );
      expect(Object.entries(resolved.worker_urls)).toEqual(Object.entries(worker_urls));
      expect(Object.entries(resolved.api_keys)).toEqual(Object.entries(api_keys));
    }
  });
});

describe('the cache', () => {
  test('spares the Config Service for five minutes', async () => {
    const sources = [];
    for (const elapsed_ms of [0, FRESH_FOR_MS - 1, 1, 1]) {
      advance(elapsed_ms);
      sources.push((await resolve('admin', { instanceId: 'production' })).source);
    }
    expect(sources).toEqual(['service', 'cache', 'service', 'cache']);
    expect(requests).toHaveLength(2);
  });

  test('a fresh copy costs one read of KV and no query', async () => {
    const auth = await authOf('admin');
    const context = { auth, instanceId: 'production', requestId: REQUEST_ID };
    const options = { now: () => service.clock.now };
    await resolveInstance(context, lookupEnv, options);
    const reads: string[] = [];
    const counted: LookupEnv = {
      ...lookupEnv,
      DB: {} as D1Database,
      CONFIG_CACHE: {
        get: (name: string, type: 'arrayBuffer') => {
          reads.push(name);
          return env.CONFIG_CACHE.get(name, type);
        },
      } as unknown as KVNamespace,
    };
    expect(await resolveInstance(context, counted, options)).toMatchObject({ source: 'cache' });
    expect(reads).toEqual(['instance-config:v1:production']);
  });

  test('an update in the Config Service is seen by the next lookup', async () => {
    await resolve('admin', { instanceId: 'production' });
    await service.call('admin', 'PATCH', '/instance/production', {
      body: { config: { api_keys: { ideogram: 'rotated-secret-0123456789' } } },
    });
    expect(await resolve('admin', { instanceId: 'production' })).toMatchObject({
      api_keys: { ideogram: 'rotated-secret-0123456789' },
      source: 'service',
    });
  });

  test('a deletion is seen by the next lookup', async () => {
    await resolve('superadmin', { instanceId: 'production' });
    await service.call('admin', 'DELETE', '/instance/production');
    expect(await failureOf(resolve('superadmin', { instanceId: 'production' }))).toEqual([
      404,
      'NOT_FOUND',
    ]);
  });

  test('an instance that is gone loses its old copy, so that it never comes back as a substitute', async () => {
    await resolve('superadmin', { instanceId: 'production' });
    await env.DB.prepare("DELETE FROM instances WHERE instance_id = 'production'").run();
    advance(FRESH_FOR_MS);
    expect(await failureOf(resolve('superadmin', { instanceId: 'production' }))).toEqual([
      404,
      'NOT_FOUND',
    ]);
    lookupEnv.CONFIG_SERVICE = { fetch: () => Promise.reject(new Error('down')) };
    expect(await failureOf(resolve('superadmin', { instanceId: 'production' }))).toEqual([
      503,
      'CONFIG_UNAVAILABLE',
    ]);
  });

  test('is written after the answer if the worker can wait', async () => {
    const executionContext = createExecutionContext();
    await resolve('admin', { instanceId: 'production' }, { executionContext });
    await waitOnExecutionContext(executionContext);
    expect(await resolve('admin', { instanceId: 'production' })).toMatchObject({
      source: 'cache',
    });
  });

  test('without its secret nothing is looked up', async () => {
    lookupEnv.CACHE_ENCRYPTION_KEY = '';
    await expect(resolve('admin', { instanceId: 'production' })).rejects.toThrow(
      'CACHE_ENCRYPTION_KEY',
    );
    expect(requests).toEqual([]);
  });
});

describe('a Config Service that is down', () => {
  const failures: [string, () => Promise<Response>][] = [
    ['refuses the connection', () => Promise.reject(new Error('connection refused'))],
    ['throws something odd', () => Promise.reject('odd')],
    ['answers 500', () => Promise.resolve(Response.json({ code: 'X' }, { status: 500 }))],
    ['answers 503', () => Promise.resolve(new Response('busy', { status: 503 }))],
    ['refuses our token', () => Promise.resolve(Response.json({}, { status: 401 }))],
    ['is not there, says something else', () => Promise.resolve(new Response('', { status: 404 }))],
    [
      'is not there, and something else says so in JSON',
      () => Promise.resolve(Response.json({ message: 'not found' }, { status: 404 })),
    ],
    ['answers nonsense', () => Promise.resolve(new Response('<html>'))],
    [
      'answers with the configuration of another instance',
      () =>
        service
          .call('service', 'GET', '/instance/development')
          .then(({ body }) => Response.json(body)),
    ],
    ['answers the wrong JSON', () => Promise.resolve(Response.json({ instance_id: 'x' }))],
    ['never answers', () => new Promise<Response>(() => undefined)],
    [
      'never ends its answer',
      () =>
        Promise.resolve(
          new Response(new ReadableStream({ pull: () => new Promise(() => undefined) })),
        ),
    ],
  ];

  test.each(failures)('it %s: an old copy serves', async (_, answer) => {
    await resolve('admin', { instanceId: 'production' });
    advance(FRESH_FOR_MS);
    lookupEnv.CONFIG_SERVICE = { fetch: answer };
    const resolved = await resolve('admin', { instanceId: 'production' }, { timeoutMs: 20 });
    expect(resolved).toMatchObject({ source: 'stale', api_keys: { ideogram: IDEOGRAM_KEY } });
    expect(reports).toHaveLength(1);
  });

  test.each(failures)('it %s: without a copy it is 503', async (_, answer) => {
    lookupEnv.CONFIG_SERVICE = { fetch: answer };
    const lookup = resolve('admin', { instanceId: 'production' }, { timeoutMs: 20 });
    expect(await failureOf(lookup)).toEqual([503, 'CONFIG_UNAVAILABLE']);
  });

  test('without a copy it is 503 also for those who have no access: that is not known', async () => {
    lookupEnv.CONFIG_SERVICE = { fetch: () => Promise.reject(new Error('down')) };
    for (const request of [{ instanceId: 'production' }, { projectId: 'content-forge' }]) {
      expect(await failureOf(resolve('user', request))).toEqual([503, 'CONFIG_UNAVAILABLE']);
    }
  });

  test.each([undefined, '', 'x'.repeat(31)])(
    'our own token that is missing or too short (%j) is no failure of it: neither 503 nor an old copy',
    async (token) => {
      await resolve('admin', { instanceId: 'production' });
      if (token === undefined) {
        Reflect.deleteProperty(lookupEnv, 'SERVICE_TOKEN');
      } else {
        lookupEnv.SERVICE_TOKEN = token;
      }
      // A fresh copy needs no token.
      expect((await resolve('admin', { instanceId: 'production' })).source).toBe('cache');
      advance(FRESH_FOR_MS);
      await expect(resolve('admin', { instanceId: 'production' })).rejects.toThrow(
        /^the secret SERVICE_TOKEN is missing or malformed$/,
      );
      expect(requests).toHaveLength(1);
    },
  );

  test('it has three seconds', () => {
    expect(CONFIG_SERVICE_TIMEOUT_MS).toBe(3000);
  });

  test('a fresh copy serves without anybody noticing', async () => {
    await resolve('admin', { instanceId: 'production' });
    lookupEnv.CONFIG_SERVICE = { fetch: () => Promise.reject(new Error('down')) };
    expect(await resolve('admin', { instanceId: 'production' })).toMatchObject({
      source: 'cache',
    });
    expect(reports).toEqual([]);
  });

  test('when it is back, the copy is replaced', async () => {
    const back = lookupEnv.CONFIG_SERVICE;
    await resolve('admin', { instanceId: 'production' });
    advance(FRESH_FOR_MS);
    lookupEnv.CONFIG_SERVICE = { fetch: () => Promise.reject(new Error('down')) };
    await resolve('admin', { instanceId: 'production' });
    lookupEnv.CONFIG_SERVICE = back;
    const sources = [
      (await resolve('admin', { instanceId: 'production' })).source,
      (await resolve('admin', { instanceId: 'production' })).source,
    ];
    expect(sources).toEqual(['service', 'cache']);
  });

  test('no report holds a secret', async () => {
    lookupEnv.CONFIG_SERVICE = {
      fetch: () => Promise.resolve(Response.json({ api_keys: { ideogram: IDEOGRAM_KEY } })),
    };
    await failureOf(resolve('admin', { instanceId: 'production' }));
    expect(reports).toHaveLength(1);
    expect(String(reports[0])).not.toContain(IDEOGRAM_KEY);
    expect(String(reports[0])).not.toContain(SERVICE_TOKEN);
  });
});

describe('the request to the Config Service', () => {
  test("carries the service token and the caller's request id, and not the caller's key", async () => {
    await resolve('admin', { instanceId: 'production' });
    const [request] = requests;
    expect(request?.headers.get('Authorization')).toBe(`Bearer ${SERVICE_TOKEN}`);
    expect(request?.headers.get('X-Request-ID')).toBe(REQUEST_ID);
    expect(new URL(request?.url ?? '').pathname).toBe('/instance/production');
  });
});

describe('LookupError', () => {
  test('makes the answer of the specification', async () => {
    const response = new LookupError('CONFIG_UNAVAILABLE', 'later').toResponse(REQUEST_ID);
    expect(response.status).toBe(503);
    expect(response.headers.get('X-Request-ID')).toBe(REQUEST_ID);
    expect(await response.json()).toEqual({
      error: 'later',
      code: 'CONFIG_UNAVAILABLE',
      request_id: REQUEST_ID,
    });
  });

  test('works with a clock and a log of its own if none are given', async () => {
    service.clock.now = new Date(START);
    const auth = await authOf('admin');
    const context = { auth, instanceId: 'production', requestId: REQUEST_ID };
    expect(await resolveInstance(context, lookupEnv)).toMatchObject({ source: 'service' });
    expect(await resolveInstance(context, lookupEnv)).toMatchObject({ source: 'cache' });
  });
});
