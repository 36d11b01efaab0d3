// What holds for every route: ids, errors, methods, bodies, credentials, CORS, and what is logged.
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import worker from '@/infrastructure/config-service/index';
import wranglerToml from '@/infrastructure/config-service/wrangler.toml?raw';
import { getApiKeyById } from '@/infrastructure/database/queries';
import { errorBody, startService, type TestService, UUID } from './support';

let service: TestService;

beforeEach(async () => {
  service = await startService();
});

describe('answers', () => {
  test('health needs no credential', async () => {
    const answer = await service.call('nobody', 'GET', '/health');
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({ status: 'ok', request_id: expect.stringMatching(UUID) });
  });

  test('the request id is in body and header, new for each request', async () => {
    const first = await service.call('user', 'GET', '/me');
    const second = await service.call('user', 'GET', '/none');
    for (const answer of [first, second]) {
      expect(answer.headers.get('X-Request-ID')).toBe(answer.body.request_id);
      expect(answer.headers.get('Content-Type')).toBe('application/json; charset=utf-8');
      expect(answer.headers.get('Cache-Control')).toBe('no-store');
      expect(answer.headers.get('X-Content-Type-Options')).toBe('nosniff');
    }
    expect(first.body.request_id).not.toBe(second.body.request_id);
  });

  test('a UUID of the caller is kept, anything else replaced', async () => {
    const given = '1B4E28BA-2FA1-11D2-883F-0016D3CCA427';
    const kept = await service.call('nobody', 'GET', '/me', { headers: { 'X-Request-ID': given } });
    expect(kept.body.request_id).toBe(given.toLowerCase());
    const replaced = await service.call('nobody', 'GET', '/me', {
      headers: { 'X-Request-ID': 'my-request' },
    });
    expect(replaced.body.request_id).toMatch(UUID);
  });

  test('HEAD is answered as GET, without a body', async () => {
    const answer = await service.call('user', 'HEAD', '/instance/development');
    expect(answer.status).toBe(200);
    expect(answer.body).toBeNull();
    expect((await service.call('user', 'HEAD', '/instance/none')).status).toBe(404);
  });
});

describe('paths and methods', () => {
  test.each([
    '/',
    '/none',
    '/instance/',
    '/instance/production/',
    '/instance/Production',
    '/instance/a%20b',
    '/instance/x/y/z',
  ])('%s leads nowhere', async (path) => {
    const answer = await service.call('superadmin', 'GET', path);
    expect(answer.status).toBe(404);
    expect(answer.body).toEqual(errorBody('NOT_FOUND'));
  });

  test('an unknown path is 404 also without a credential', async () => {
    expect((await service.call('nobody', 'GET', '/none')).status).toBe(404);
  });

  test('a method that a path has not is 405, with those it has', async () => {
    const answer = await service.call('nobody', 'PUT', '/instance/production');
    expect(answer.status).toBe(405);
    expect(answer.body).toEqual(errorBody('METHOD_NOT_ALLOWED'));
    expect(answer.headers.get('Allow')).toBe('DELETE, GET, HEAD, PATCH');
    expect((await service.call('nobody', 'OPTIONS', '/health')).status).toBe(405);
  });
});

describe('credentials', () => {
  const unknownKey = 'mas_00000000000000000000000000000000000000000001yhBtb';

  test.each([
    ['no header', {}],
    ['another scheme', { Authorization: 'Basic YTpi' }],
    ['no key', { Authorization: 'Bearer' }],
    ['something that is no key', { Authorization: 'Bearer secret' }],
    ['a key with a wrong checksum', { Authorization: `Bearer ${unknownKey.slice(0, -1)}c` }],
    ['a key that nobody has', { Authorization: `Bearer ${unknownKey}` }],
  ])('%s is 401', async (_, headers) => {
    const answer = await service.call('nobody', 'GET', '/me', { headers });
    expect(answer.status).toBe(401);
    expect(answer.body).toEqual(errorBody('AUTH_FAILED'));
    expect(answer.headers.get('WWW-Authenticate')).toBe('Bearer');
  });

  test("the scheme's case does not matter", async () => {
    const headers = { Authorization: `bEARER ${service.keyOf('user')}` };
    expect((await service.call('nobody', 'GET', '/me', { headers })).status).toBe(200);
  });

  test('a key of this form that lacks nothing but its owner costs no more than a 401', async () => {
    const { status } = await service.call('nobody', 'GET', '/me', {
      headers: { Authorization: `Bearer ${unknownKey}` },
    });
    expect(status).toBe(401);
    expect(service.lines).toEqual([]);
  });

  test('the service token works only if it is set and long enough', async () => {
    expect((await service.call('service', 'GET', '/instance/production')).status).toBe(200);
    for (const token of [undefined, 'short']) {
      const weak = await startService(token === undefined ? {} : { SERVICE_TOKEN: token });
      if (token === undefined) {
        delete weak.env.SERVICE_TOKEN;
      }
      const headers = { Authorization: `Bearer ${token ?? 'undefined'}` };
      const answer = await weak.call('nobody', 'GET', '/instance/production', { headers });
      expect(answer.status).toBe(401);
    }
  });

  test('the last use of a key is noted after the answer, at most once a minute', async () => {
    const lastUse = async () => {
      await service.call('user', 'GET', '/me');
      await service.settle();
      return (await getApiKeyById(env.DB, 'key-of-user'))?.last_used_at;
    };
    expect(await lastUse()).toBe('2026-03-01T10:00:00.000Z');
    service.clock.now = new Date('2026-03-01T10:00:59.999Z');
    expect(await lastUse()).toBe('2026-03-01T10:00:00.000Z');
    service.clock.now = new Date('2026-03-01T10:01:00.000Z');
    expect(await lastUse()).toBe('2026-03-01T10:01:00.000Z');
  });
});

describe('bodies', () => {
  const post = (body: unknown, headers: Record<string, string> = {}) =>
    service.call('superadmin', 'POST', '/organization', { body, headers });

  test.each([
    ['no JSON', '{"name":'],
    ['an array', '[]'],
    ['null', 'null'],
    ['nothing', ''],
    ['a missing field', '{"name":"A"}'],
    ['a wrong field', '{"name":5,"billing_email":"a@b.c"}'],
    ['an unknown field', '{"name":"A","billing_email":"a@b.c","plan":"free"}'],
  ])('%s is 400', async (_, body) => {
    const answer = await post(body);
    expect(answer.status).toBe(400);
    expect(answer.body).toEqual(errorBody('VALIDATION_FAILED'));
  });

  test('the message names the field and does not repeat its value', async () => {
    const answer = await post({ name: 'A', billing_email: 'planted-secret' });
    expect(answer.body.error).toContain('billing_email');
    expect(JSON.stringify(answer.body)).not.toContain('planted-secret');
  });

  test('a body that is not UTF-8 is 400', async () => {
    const response = await service.send(
      new Request('https://config.example.com/organization', {
        method: 'POST',
        headers: {
          Authorization: `Bearer ${service.keyOf('superadmin')}`,
          'Content-Type': 'application/json',
        },
        body: new Uint8Array([0x22, 0xff, 0x22]),
      }),
    );
    expect(response.status).toBe(400);
  });

  test('another content type is 400', async () => {
    const body = JSON.stringify({ name: 'A', billing_email: 'a@b.c' });
    expect((await post(body, { 'Content-Type': 'text/plain' })).status).toBe(400);
    expect((await post(body, { 'Content-Type': 'Application/JSON; charset=utf-8' })).status).toBe(
      201,
    );
  });

  test('64 KiB are read, more is 413, announced or not', async () => {
    const limit = 64 * 1024;
    const padded = (length: number) =>
      JSON.stringify({ name: 'A', billing_email: 'a@b.c' }).padEnd(length, ' ');
    expect((await post(padded(limit))).status).toBe(201);
    const announced = await post('{}', { 'Content-Length': String(limit + 1) });
    expect(announced.status).toBe(413);
    expect(announced.body).toEqual(errorBody('PAYLOAD_TOO_LARGE'));

    expect((await post(padded(limit + 1))).status).toBe(413);
    const chunk = new TextEncoder().encode(' '.repeat(40_000));
    const streamed = await service.send(
      new Request('https://config.example.com/organization', {
        method: 'POST',
        headers: {
          Authorization: `Bearer ${service.keyOf('superadmin')}`,
          'Content-Type': 'application/json',
        },
        body: new ReadableStream<Uint8Array>({
          pull(controller) {
            controller.enqueue(chunk.slice());
          },
        }),
      }),
    );
    expect(streamed.status).toBe(413);
  });

  test('who may not do it is told so before the body is looked at', async () => {
    const answer = await service.call('user', 'POST', '/organization', { body: 'nonsense' });
    expect(answer.status).toBe(403);
  });
});

describe('lists', () => {
  test('pages follow each other by their cursor', async () => {
    const first = await service.call('superadmin', 'GET', '/instance?limit=2');
    expect(first.body.items.map((item) => item.instance_id)).toEqual(['production', 'development']);
    const { next_cursor } = first.body;
    expect(next_cursor).toMatch(/^[\w-]+$/);
    const second = await service.call(
      'superadmin',
      'GET',
      `/instance?limit=2&cursor=${next_cursor}`,
    );
    expect(second.body.items.map((item) => item.instance_id)).toEqual(['acme-main']);
    expect(second.body.next_cursor).toBeNull();
  });

  test.each([
    'limit=0',
    'limit=101',
    'limit=-1',
    'limit=1.5',
    'limit=',
    'limit=ten',
    'cursor=',
    'cursor=%25',
    'cursor=bm90IGpzb24',
    'cursor=WzEsMl0',
  ])('?%s is 400', async (query) => {
    const answer = await service.call('superadmin', 'GET', `/instance?${query}`);
    expect(answer.status).toBe(400);
    expect(answer.body).toEqual(errorBody('VALIDATION_FAILED'));
  });

  test('query parameters that mean nothing are ignored', async () => {
    expect((await service.call('superadmin', 'GET', '/instance?_=1')).status).toBe(200);
  });
});

describe('CORS', () => {
  const origin = 'https://admin.example.com';

  test('a preflight of a known origin is answered without a credential', async () => {
    const { status, body, headers } = await service.call('nobody', 'OPTIONS', '/instance', {
      headers: { Origin: origin, 'Access-Control-Request-Method': 'POST' },
    });
    expect(status).toBe(204);
    expect(body).toBeNull();
    expect(headers.get('Access-Control-Allow-Origin')).toBe(origin);
    expect(headers.get('Access-Control-Allow-Methods')).toContain('PATCH');
    expect(headers.get('Access-Control-Allow-Headers')).toContain('Authorization');
    expect(headers.get('Access-Control-Max-Age')).toBe('86400');
    expect(headers.get('Vary')).toBe('Origin');
  });

  test('answers to a known origin may be read by it, errors too', async () => {
    const { headers } = await service.call('nobody', 'GET', '/me', { headers: { Origin: origin } });
    expect(headers.get('Access-Control-Allow-Origin')).toBe(origin);
    expect(headers.get('Access-Control-Expose-Headers')).toBe('X-Request-ID, Retry-After');
    expect(headers.has('Access-Control-Allow-Credentials')).toBe(false);
  });

  test.each(['https://evil.example.com', 'https://admin.example.com.evil.com', 'null'])(
    'the origin %s gets nothing',
    async (other) => {
      const preflight = await service.call('nobody', 'OPTIONS', '/instance', {
        headers: { Origin: other, 'Access-Control-Request-Method': 'POST' },
      });
      expect(preflight.status).toBe(204);
      expect(preflight.headers.has('Access-Control-Allow-Origin')).toBe(false);
      expect(preflight.headers.has('Access-Control-Allow-Methods')).toBe(false);
    },
  );
});

describe('faults', () => {
  const brokenDatabase = {
    prepare() {
      throw new Error('D1_ERROR: no such table: api_keys');
    },
  } as unknown as D1Database;

  test('a database that fails is 500, never 401, and tells the caller nothing', async () => {
    const broken = await startService({ DB: brokenDatabase });
    const answer = await broken.call('user', 'GET', '/me');
    expect(answer.status).toBe(500);
    expect(answer.body).toEqual(errorBody('INTERNAL_ERROR'));
    expect(answer.body.error).not.toContain('api_keys');
    expect((await broken.call('nobody', 'GET', '/health')).status).toBe(500);
  });

  test('a fault is logged as one line with the request id', async () => {
    const broken = await startService({ DB: brokenDatabase });
    const answer = await broken.call('user', 'GET', '/me');
    expect(broken.lines.map((line) => JSON.parse(line))).toEqual([
      {
        level: 'ERROR',
        component: 'config-service',
        request_id: answer.body.request_id,
        message: 'D1_ERROR: no such table: api_keys',
        error: 'Error',
      },
    ]);
  });

  test('a last use that cannot be noted is logged and spoils nothing', async () => {
    const readOnly = {
      prepare(sql: string) {
        if (sql.startsWith('UPDATE')) {
          throw new Error('read-only');
        }
        return env.DB.prepare(sql);
      },
    } as unknown as D1Database;
    const degraded = await startService({ DB: readOnly });
    expect((await degraded.call('user', 'GET', '/me')).status).toBe(200);
    await degraded.settle();
    expect(degraded.lines).toHaveLength(1);
  });

  test('a secret in the message of a fault is not logged', async () => {
    const key = 'mas_00000000000000000000000000000000000000000001yhBtb';
    const talkative = await startService({
      DB: {
        prepare() {
          throw new Error(`D1_ERROR: near "${key}": syntax error`);
        },
      } as unknown as D1Database,
    });
    expect((await talkative.call('nobody', 'GET', '/health')).status).toBe(500);
    expect(talkative.lines.map((line) => JSON.parse(line))).toMatchObject([
      { message: 'D1_ERROR: near "[redacted]": syntax error' },
    ]);
  });

  test('what is thrown without being an error is a 500 as well', async () => {
    const odd = {
      prepare() {
        // biome-ignore lint/style/useThrowOnlyError: the case is what the test is about
        throw 'odd';
      },
    } as unknown as D1Database;
    const broken = await startService({ DB: odd });
    expect((await broken.call('nobody', 'GET', '/health')).status).toBe(500);
    expect(broken.lines[0]).toContain('no error was thrown');
  });
});

describe('the worker', () => {
  test('its default export answers with the real clock', async () => {
    const response = await worker.fetch(
      new Request('https://config.example.com/health'),
      service.env,
      { waitUntil: () => undefined },
    );
    expect(response.status).toBe(200);
  });

  test('its configuration has the bindings that the code uses', () => {
    for (const binding of ['DB', 'CONFIG_CACHE']) {
      expect(wranglerToml).toContain(`binding = "${binding}"`);
    }
    expect(wranglerToml).toContain('main = "index.ts"');
    expect(wranglerToml).toContain('migrations_dir = "../database/migrations"');
    expect(wranglerToml).not.toMatch(/^(PROVIDER_KEY_ENCRYPTION_KEYS|SERVICE_TOKEN) *=/m);
  });
});
