// What is taken from a caller and what is refused: objects, names of entries, numbers, texts, times, URLs, cursors.
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { countRows } from '@/tests/database/support';
import { errorBody, IDS, startService, type TestService } from './support';

let service: TestService;

beforeEach(async () => {
  service = await startService();
});

const send = (method: string, path: string, body: unknown) =>
  service.call('superadmin', method, path, { body });
const createInstance = (fields: object) =>
  send('POST', '/instance', { org_id: IDS.orgId, name: 'N', ...fields });
const patchInstance = (body: unknown) => send('PATCH', '/instance/production', body);

describe('objects', () => {
  const NEW_INSTANCE = { org_id: IDS.orgId, name: 'N' };
  const BODIES: [string, string, (value: unknown) => unknown][] = [
    ['POST', '/organization', (value) => value],
    ['PATCH', '/organization/acme', (value) => value],
    ['POST', '/instance', (value) => value],
    ['POST', '/instance', (config) => ({ ...NEW_INSTANCE, config })],
    ['POST', '/instance', (api_keys) => ({ ...NEW_INSTANCE, config: { api_keys } })],
    ['POST', '/instance', (worker_urls) => ({ ...NEW_INSTANCE, config: { worker_urls } })],
    ['POST', '/instance', (rate_limits) => ({ ...NEW_INSTANCE, config: { rate_limits } })],
    ['POST', '/instance', (a) => ({ ...NEW_INSTANCE, config: { rate_limits: { a } } })],
    ['PATCH', '/instance/production', (value) => value],
    ['PATCH', '/instance/production', (config) => ({ config })],
    ['PATCH', '/instance/production', (api_keys) => ({ config: { api_keys } })],
    ['PATCH', '/instance/production', (worker_urls) => ({ config: { worker_urls } })],
    ['PATCH', '/instance/production', (rate_limits) => ({ config: { rate_limits } })],
    ['POST', '/user', (value) => value],
    ['PATCH', `/user/${IDS.developerId}`, (value) => value],
    ['POST', `/user/${IDS.developerId}/key`, (value) => value],
    ['POST', '/project/playground/key', (value) => value],
    ['POST', '/project', (value) => value],
    ['PATCH', '/project/playground', (value) => value],
    ['PATCH', '/project/playground', (settings) => ({ settings })],
  ];

  test.each(BODIES)(
    '%s %s: neither arrays nor texts, numbers or null are any',
    async (method, path, make) => {
      for (const value of [[], [{}], [['a', 'b']], 'text', 5, true, null]) {
        const { status, body } = await send(method, path, make(value));
        expect([status, body], JSON.stringify(value)).toEqual([
          400,
          errorBody('VALIDATION_FAILED'),
        ]);
      }
      expect(await countRows('instances')).toBe(3);
      expect(await countRows('api_keys')).toBe(5);
    },
  );

  test.each(['__proto__', 'constructor', 'toString'])(
    'the unknown field %s is 400 at every level',
    async (name) => {
      const { status } = await send(
        'POST',
        '/organization',
        `{"name":"A","billing_email":"a@b.c","${name}":{}}`,
      );
      expect(status).toBe(400);
      expect((await patchInstance(`{"config":{"${name}":{}}}`)).status).toBe(400);
      const limit = `{"config":{"rate_limits":{"a":{"rpm":1,"${name}":1}}}}`;
      expect((await patchInstance(limit)).status).toBe(400);
    },
  );

  test('of a field that is there twice the last counts', async () => {
    const { status, body } = await patchInstance('{"name":5,"name":"Last"}');
    expect([status, body.name]).toEqual([200, 'Last']);
    expect((await patchInstance('{"name":"Last","name":5}')).status).toBe(400);
    const limits = '{"config":{"rate_limits":{"a":{"rpm":1},"a":{"rpm":2}}}}';
    expect((await patchInstance(limits)).body.rate_limits).toMatchObject({ a: { rpm: 2 } });
  });

  test('null is refused where nothing says that it is allowed', async () => {
    for (const body of [
      { name: null },
      { config: { api_keys: null } },
      { config: { rate_limits: { a: { rpm: null } } } },
      { config: { rate_limits: { a: { rpm: 1, tpm: null } } } },
    ]) {
      expect((await patchInstance(body)).status, JSON.stringify(body)).toBe(400);
    }
    expect((await createInstance({ instance_id: null })).status).toBe(400);
    expect((await createInstance({ config: { worker_urls: { a: null } } })).status).toBe(400);
    expect((await createInstance({ config: { r2_bucket: null } })).status).toBe(201);
  });
});

describe('names of entries', () => {
  const NAMES = ['constructor', 'prototype', 'valueof', '0', '10', 'a_b-c', 'x'.repeat(32)];
  const mapOf = <Value>(value: Value) => Object.fromEntries(NAMES.map((name) => [name, value]));
  const config = {
    api_keys: mapOf('secret-of-some-provider'),
    rate_limits: mapOf({ rpm: 7 }),
    worker_urls: mapOf('https://a.example.com'),
  };

  test('every name of the grammar is kept, also one that every object of the language has', async () => {
    const made = await createInstance({ instance_id: 'made', config });
    expect(made.status).toBe(201);
    const read = await service.call('service', 'GET', '/instance/made');
    expect(read.body).toMatchObject(config);
    for (const [body, key] of [
      [made.body, '****ider'],
      [read.body, 'secret-of-some-provider'],
    ] as const) {
      expect(Object.entries(body.api_keys).toSorted()).toEqual(
        NAMES.map((name) => [name, key]).toSorted(),
      );
      expect(Object.keys(body.rate_limits).toSorted()).toEqual(NAMES.toSorted());
      expect(Object.keys(body.worker_urls).toSorted()).toEqual(NAMES.toSorted());
    }
  });

  test('such entries are merged and removed like all others', async () => {
    await patchInstance({ config });
    const changed = await patchInstance({
      config: {
        api_keys: { constructor: '****ider', prototype: null },
        rate_limits: { constructor: { rpm: 8 } },
        worker_urls: { constructor: null },
      },
    });
    expect(changed.status).toBe(200);
    const { body } = await service.call('service', 'GET', '/instance/production');
    const { prototype: _, ...keys } = config.api_keys;
    const { constructor: __, ...urls } = config.worker_urls;
    expect(Object.entries(body.api_keys).toSorted()).toEqual(Object.entries(keys).toSorted());
    expect(Object.entries(body.worker_urls).toSorted()).toEqual(Object.entries(urls).toSorted());
    expect(Object.entries(body.rate_limits)).toContainEqual(['constructor', { rpm: 8 }]);
  });

  test.each(['__proto__', '', 'A', '-a', '_a', 'a.b', 'ä', 'a\n', 'x'.repeat(33)])(
    'the name %j is 400 in every map',
    async (name) => {
      const key = JSON.stringify(name);
      for (const entry of [
        `"api_keys":{${key}:"secret-of-some-provider"}`,
        `"rate_limits":{${key}:{"rpm":1}}`,
        `"worker_urls":{${key}:"https://a.example.com"}`,
      ]) {
        const fields = `"org_id":"${IDS.orgId}","name":"N"`;
        const made = await send('POST', '/instance', `{${fields},"config":{${entry}}}`);
        expect([made.status, made.body.code], entry).toEqual([400, 'VALIDATION_FAILED']);
        expect((await patchInstance(`{"config":{${entry}}}`)).status, entry).toBe(400);
      }
      expect((await patchInstance(`{"config":{"api_keys":{${key}:null}}}`)).status).toBe(400);
    },
  );

  test('settings keep every name', async () => {
    const settings = '{"__proto__":{"a":1},"constructor":[{"__proto__":null}],"toString":"x","":0}';
    const made = await send(
      'POST',
      '/project',
      `{"project_id":"made","instance_id":"production","name":"P","settings":${settings}}`,
    );
    const read = await service.call('superadmin', 'GET', '/project/made');
    for (const { body } of [made, read]) {
      expect(JSON.stringify((body as unknown as { settings: object }).settings)).toBe(settings);
    }
  });
});

describe('numbers', () => {
  test.each(['60', '60.0', '6e1', '0.6E2'])('%s is the integer 60', async (number) => {
    const { body } = await patchInstance(`{"config":{"rate_limits":{"a":{"rpm":${number}}}}}`);
    expect(body.rate_limits).toMatchObject({ a: { rpm: 60 } });
  });

  test.each(['60.5', '"60"', '1e999', '0', '-1', '-0', '1000001', 'true', '[60]'])(
    '%s is no number of requests',
    async (number) => {
      const answer = await patchInstance(`{"config":{"rate_limits":{"a":{"rpm":${number}}}}}`);
      expect([answer.status, answer.body.code]).toEqual([400, 'VALIDATION_FAILED']);
    },
  );

  test('the largest are taken', async () => {
    const a = { rpm: 1_000_000, tpm: 1_000_000_000 };
    const { body } = await patchInstance({ config: { rate_limits: { a } } });
    expect(body.rate_limits).toMatchObject({ a });
    const more = { a: { rpm: 1, tpm: 1_000_000_001 } };
    expect((await patchInstance({ config: { rate_limits: more } })).status).toBe(400);
  });
});

describe('texts', () => {
  test.each([
    ['\ufeff\u00a0\u3000\u2028 N\u200a\t\n', 'N'],
    ['a  b', 'a  b'],
    ['\u200bN', '\u200bN'],
    ['\u{1f600}'.repeat(50), '\u{1f600}'.repeat(50)],
    [` ${'x'.repeat(100)} `, 'x'.repeat(100)],
  ])('the name %j is kept as %j', async (name, kept) => {
    const { status, body } = await patchInstance({ name });
    expect([status, body.name]).toEqual([200, kept]);
  });

  test.each([
    '\ufeff\u3000',
    '\u0085N',
    'N\u009f',
    'a\tb',
    'a\u007fb',
    '\udc00',
    `${'\u{1f600}'.repeat(50)}x`,
  ])('the name %j is 400', async (name) => {
    expect((await patchInstance({ name })).status).toBe(400);
  });

  test.each([' a@b.c', 'a@b.c ', 'a@b\u00a0.c', 'a\u0080@b.c', 'a@b@c.d', 'a@.c', 'a@b.', 'a.b@c'])(
    'the email %j is 400',
    async (email) => {
      expect((await send('POST', '/user', { org_id: IDS.orgId, email })).status).toBe(400);
    },
  );

  test('settings of 16384 characters are taken, however they were sent', async () => {
    const patch = (body: string) => send('PATCH', '/project/playground', body);
    const fitting = JSON.stringify({ a: 'x'.repeat(16_384 - 8) });
    expect(fitting).toHaveLength(16_384);
    expect((await patch(`{"settings": ${fitting.replace(':', ' : \n')}}`)).status).toBe(200);
    expect((await patch(`{"settings":${fitting.replace('x', 'xx')}}`)).status).toBe(400);
  });

  test('settings as deep as a body can hold are 400', async () => {
    const levels = 32_700;
    const settings = `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`;
    const { status } = await send('PATCH', '/project/playground', `{"settings":${settings}}`);
    expect([status, service.lines]).toEqual([400, []]);
  });
});

describe('times', () => {
  test.each([
    '+010000-01-01T00:00:00.000Z',
    '-000001-01-01T00:00:00.000Z',
    '2027-02-29T00:00:00.000Z',
    '2027-01-01T00:00:00Z',
    '2027-01-01T00:00:00.000+00:00',
    '2027-01-01T24:00:00.000Z',
    ' 2027-01-01T00:00:00.000Z',
  ])('%s is none', async (time) => {
    const { status } = await send('POST', '/project/playground/key', { expires_at: time });
    expect(status).toBe(400);
    const logs = await service.call('superadmin', 'GET', `/logs?to=${encodeURIComponent(time)}`);
    expect(logs.status).toBe(400);
  });

  test.each(['2028-02-29T00:00:00.000Z', '9999-12-31T23:59:59.999Z', null])(
    '%s is taken',
    async (time) => {
      const { status } = await send('POST', '/project/playground/key', { expires_at: time });
      expect(status).toBe(201);
    },
  );
});

describe('worker URLs', () => {
  const put = (url: string) => patchInstance({ config: { worker_urls: { w: url } } });

  test.each([
    'https://a',
    'https://a.example.com:8443/x/y?z=1',
    'https://xn--bcher-kva.example/',
    `https://${Array(32).fill('a').join('-')}.0-1.example-2`,
    'http://localhost:8787',
    'http://a.b.localhost/x',
    'http://127.0.0.1:1/?q',
    `https://a.example/${'x'.repeat(2048 - 18)}`,
  ])('%s is kept as it is sent', async (url) => {
    const { status, body } = await put(url);
    expect([status, body.worker_urls.w]).toEqual([200, url]);
  });

  test.each([
    '',
    'a.example.com',
    '//a.example.com',
    '/x',
    'https:',
    'https://',
    'https:a.example.com',
    ' https://a.example.com',
    'https://a.example.com\n',
    'https://a.exa mple.com',
    'https://a.example.com/\t',
    'https:\\\\a.example.com',
    'https://user@a.example.com',
    'https://user:password@a.example.com',
    'https://:password@a.example.com',
    'https://@a.example.com',
    'http://a.example.com',
    'http://localhost.example.com',
    'http://127.0.0.2',
    'http://user@localhost',
    'ftp://a.example.com',
    'javascript:alert(1)',
    'data:text/plain,x',
    'wss://a.example.com',
    // What follows is no Punycode, so that no parser takes it for a host.
    'https://xn--a.example',
    `https://a.example/${'x'.repeat(2048 - 17)}`,
  ])('%j is 400', async (url) => {
    const { status, body } = await put(url);
    expect([status, body.code]).toEqual([400, 'VALIDATION_FAILED']);
  });
});

describe('cursors', () => {
  test('one that was altered is 400', async () => {
    const first = await service.call('superadmin', 'GET', '/instance?limit=1');
    const { next_cursor } = first.body;
    expect(next_cursor).not.toBeNull();
    for (const cursor of [
      `${next_cursor}=`,
      `${next_cursor}A`,
      `%20${next_cursor}`,
      '%00',
      '%C3%A4',
    ]) {
      const { status } = await service.call('superadmin', 'GET', `/instance?cursor=${cursor}`);
      expect(status, cursor).toBe(400);
    }
  });

  test('of a parameter that is there twice the first counts', async () => {
    const { status, body } = await service.call('superadmin', 'GET', '/instance?limit=1&limit=0');
    expect([status, body.items.length]).toEqual([200, 1]);
    expect((await service.call('superadmin', 'GET', '/instance?limit=0&limit=1')).status).toBe(400);
  });
});

test('a text of the query is compared whole, also behind a NUL', async () => {
  expect(await env.DB.prepare('SELECT count(*) AS n FROM instances').first('n')).toBe(3);
  for (const path of [
    '/instance?org_id=example-org%00',
    '/project?instance_id=production%00x',
    '/metrics?instance_id=production%00x',
    '/metrics?instance_id=Production',
    '/user?org_id=Example-Org',
  ]) {
    expect((await service.call('superadmin', 'GET', path)).status, path).toBe(404);
  }
});
