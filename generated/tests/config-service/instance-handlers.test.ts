// Instances and access to them.
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { instanceConfigCacheKey } from '@/infrastructure/config-service/cache-entries';
import { countRows } from '@/tests/database/support';
import { errorBody, IDS, START, startService, type TestService, UUID } from './support';

const IDEOGRAM_KEY = 'ideogram-secret-0123456789-wxyz';

let service: TestService;

beforeEach(async () => {
  service = await startService();
});

const patch = (body: unknown, path = '/instance/production') =>
  service.call('admin', 'PATCH', path, { body });

describe('creating', () => {
  test('an instance comes back with its whole configuration, keys masked', async () => {
    const answer = await service.call('admin', 'POST', '/instance', {
      body: {
        instance_id: 'staging',
        org_id: IDS.orgId,
        name: '  Staging ',
        config: {
          api_keys: { ideogram: IDEOGRAM_KEY, other: 'short' },
          rate_limits: { ideogram: { rpm: 500, tpm: 1000 }, other: { rpm: 1 } },
          worker_urls: { image_gen: 'https://image-gen.example.com' },
          r2_bucket: 'staging-images',
        },
      },
    });
    expect(answer.status).toBe(201);
    expect(answer.headers.get('Location')).toBe('/instance/staging');
    expect(answer.body).toEqual({
      instance_id: 'staging',
      org_id: IDS.orgId,
      name: 'Staging',
      api_keys: { ideogram: '****wxyz', other: '****' },
      rate_limits: { ideogram: { rpm: 500, tpm: 1000 }, other: { rpm: 1 } },
      worker_urls: { image_gen: 'https://image-gen.example.com' },
      r2_bucket: 'staging-images',
      authorized_users: [],
      created_at: START,
      updated_at: START,
      request_id: answer.body.request_id,
    });
    const read = await service.call('admin', 'GET', '/instance/staging');
    expect({ ...read.body, request_id: answer.body.request_id }).toEqual(answer.body);
  });

  test('without id and configuration it gets a UUID and an empty configuration', async () => {
    const { status, body } = await service.call('superadmin', 'POST', '/instance', {
      body: { org_id: IDS.otherOrgId, name: 'New' },
    });
    expect(status).toBe(201);
    expect(body.instance_id).toMatch(UUID);
    expect(body).toMatchObject({
      api_keys: {},
      rate_limits: {},
      worker_urls: {},
      r2_bucket: null,
    });
  });

  test('a taken id is 409, an unknown organisation 404, that of others 403', async () => {
    const create = async (body: object) => {
      const answer = await service.call('admin', 'POST', '/instance', { body });
      return [answer.status, answer.body.code];
    };
    const taken = { instance_id: 'production', org_id: IDS.orgId, name: 'P' };
    expect(await create(taken)).toEqual([409, 'CONFLICT']);
    expect(await create({ org_id: 'none', name: 'P' })).toEqual([404, 'NOT_FOUND']);
    expect(await create({ org_id: IDS.otherOrgId, name: 'P' })).toEqual([403, 'FORBIDDEN']);
  });

  test.each([
    ['name', { name: ' ' }],
    ['name', { name: 'x'.repeat(101) }],
    ['name', { name: 'N\u0000' }],
    ['name', { name: '\ud800' }],
    ['instance_id', { instance_id: 'Upper' }],
    ['instance_id', { instance_id: 'x'.repeat(64) }],
    ['config.api_keys.Bad Name', { config: { api_keys: { 'Bad Name': 'x' } } }],
    ['config.api_keys.ideogram', { config: { api_keys: { ideogram: '' } } }],
    ['config.api_keys.ideogram', { config: { api_keys: { ideogram: 'with space' } } }],
    ['config.api_keys.ideogram', { config: { api_keys: { ideogram: '****wxyz' } } }],
    ['config.api_keys.ideogram', { config: { api_keys: { ideogram: null } } }],
    ['config.rate_limits.ideogram.rpm', { config: { rate_limits: { ideogram: { rpm: 0 } } } }],
    ['config.rate_limits.ideogram.rpm', { config: { rate_limits: { ideogram: { rpm: 1.5 } } } }],
    [
      'config.rate_limits.ideogram.rps',
      { config: { rate_limits: { ideogram: { rpm: 1, rps: 1 } } } },
    ],
    ['config.worker_urls.image_gen', { config: { worker_urls: { image_gen: 'http://a.com' } } }],
    [
      'config.worker_urls.image_gen',
      { config: { worker_urls: { image_gen: 'https://u:p@a.com' } } },
    ],
    ['config.worker_urls.image_gen', { config: { worker_urls: { image_gen: 'no url' } } }],
    ['config.r2_bucket', { config: { r2_bucket: 'UPPER' } }],
    ['config.authorized_users', { config: { authorized_users: [] } }],
  ])('a wrong %s is 400 and says where', async (field, change) => {
    const { status, body } = await service.call('admin', 'POST', '/instance', {
      body: { org_id: IDS.orgId, name: 'N', ...change },
    });
    expect(status).toBe(400);
    expect(body).toEqual(errorBody('VALIDATION_FAILED'));
    expect(body.error).toContain(`${field}: `);
    expect(body.error).not.toContain('u:p@');
    expect(await countRows('instances')).toBe(3);
  });

  test('local workers may be reached without https', async () => {
    const urls = {
      a: 'http://localhost:8787',
      b: 'http://127.0.0.1:8787/x',
      c: 'http://image-gen.localhost',
    };
    const { body } = await patch({ config: { worker_urls: urls } });
    expect(body.worker_urls).toEqual(urls);
  });
});

describe('provider keys', () => {
  beforeEach(async () => {
    await patch({ config: { api_keys: { ideogram: IDEOGRAM_KEY } } });
  });

  test('they are nowhere in the database, only their ciphertext is', async () => {
    const row = await env.DB.prepare(
      "SELECT config FROM instances WHERE instance_id = 'production'",
    ).first<{ config: string }>();
    expect(row?.config).not.toContain(IDEOGRAM_KEY);
    expect(JSON.parse(row?.config ?? '{}').api_keys).toEqual({
      ideogram: { ciphertext: expect.stringMatching(/^v1\.first\./), mask: '****wxyz' },
    });
  });

  test('a service reads them in clear, a superadmin does not', async () => {
    const forService = await service.call('service', 'GET', '/instance/production');
    expect(forService.body.api_keys).toEqual({ ideogram: IDEOGRAM_KEY });
    const forSuperadmin = await service.call('superadmin', 'GET', '/instance/production');
    expect(forSuperadmin.body.api_keys).toEqual({ ideogram: '****wxyz' });
    const list = await service.call('service', 'GET', '/instance');
    expect(list.body.items[0]?.api_keys).toEqual({ ideogram: IDEOGRAM_KEY });
  });

  test('sending a mask back leaves the key as it is', async () => {
    const { status } = await patch({
      config: { api_keys: { ideogram: '****wxyz', second: 'another-secret-0123456789' } },
    });
    expect(status).toBe(200);
    const { body } = await service.call('service', 'GET', '/instance/production');
    expect(body.api_keys).toEqual({
      ideogram: IDEOGRAM_KEY,
      second: 'another-secret-0123456789',
    });
  });

  test('a mask that is not that of the present key is 400', async () => {
    for (const value of ['****', '****wxyZ', '****other']) {
      const { status, body } = await patch({ config: { api_keys: { ideogram: value } } });
      expect([status, body.code]).toEqual([400, 'VALIDATION_FAILED']);
    }
  });

  test('null removes a key', async () => {
    const { body } = await patch({ config: { api_keys: { ideogram: null } } });
    expect(body.api_keys).toEqual({});
  });

  test('they need the secret: without it writing and reading them is a 500, and the rest works', async () => {
    service.env.PROVIDER_KEY_ENCRYPTION_KEYS = '';
    const written = await patch({ config: { api_keys: { ideogram: 'new-secret-0123456789' } } });
    expect([written.status, written.body.code]).toEqual([500, 'INTERNAL_ERROR']);
    expect((await service.call('service', 'GET', '/instance/production')).status).toBe(500);
    expect((await service.call('admin', 'GET', '/instance/production')).status).toBe(200);
    expect((await patch({ name: 'Renamed' })).status).toBe(200);
  });

  test('a configuration that was damaged in the database is a 500', async () => {
    await env.DB.prepare(
      `UPDATE instances SET config = '{"api_keys":{"ideogram":"plain"}}' WHERE instance_id = 'production'`,
    ).run();
    expect((await service.call('admin', 'GET', '/instance/production')).status).toBe(500);
  });

  test('a secret in the wrong place is refused without being repeated', async () => {
    for (const config of [
      { api_keys: IDEOGRAM_KEY },
      { api_keys: { ideogram: { key: IDEOGRAM_KEY } } },
      { rate_limits: { ideogram: IDEOGRAM_KEY } },
      { r2_bucket: IDEOGRAM_KEY.toUpperCase() },
      IDEOGRAM_KEY,
    ]) {
      const { status, body } = await patch({ config });
      expect([status, body.code]).toEqual([400, 'VALIDATION_FAILED']);
      expect(body.error.toLowerCase()).not.toContain(IDEOGRAM_KEY);
    }
  });

  test('neither provider keys nor platform keys nor the service token reach a log or an error', async () => {
    await patch({ config: { api_keys: { ideogram: `${IDEOGRAM_KEY} ` } } });
    service.env.PROVIDER_KEY_ENCRYPTION_KEYS = '';
    const answers = [
      await patch({ config: { api_keys: { ideogram: 'new-secret-0123456789' } } }),
      await service.call('service', 'GET', '/instance/production'),
    ];
    const printed = JSON.stringify([service.lines, answers.map(({ body }) => body)]);
    expect(service.lines).toHaveLength(2);
    for (const secret of [
      IDEOGRAM_KEY,
      'new-secret-0123456789',
      service.keyOf('admin'),
      service.keyOf('service'),
    ]) {
      expect(printed).not.toContain(secret);
    }
  });
});

describe('changing', () => {
  test('what is not named stays', async () => {
    await patch({
      config: {
        rate_limits: { ideogram: { rpm: 5 }, second: { rpm: 7, tpm: 9 } },
        worker_urls: { image_gen: 'https://a.example.com' },
      },
    });
    service.clock.now = new Date('2026-03-01T11:00:00.000Z');
    const { body } = await patch({ name: 'Renamed', config: { rate_limits: { ideogram: null } } });
    expect(body).toMatchObject({
      name: 'Renamed',
      rate_limits: { second: { rpm: 7, tpm: 9 } },
      worker_urls: { image_gen: 'https://a.example.com' },
      r2_bucket: 'production-images',
      updated_at: '2026-03-01T11:00:00.000Z',
    });
    expect((await patch({ config: { r2_bucket: null } })).body.r2_bucket).toBeNull();
  });

  test.each([{}, { org_id: 'acme' }, { config: { unknown: 1 } }])('%j is 400', async (body) => {
    expect((await patch(body)).status).toBe(400);
  });

  test('more than 50 entries are 400, also when they come in turns', async () => {
    const limits = (start: number, count: number) =>
      Object.fromEntries(
        Array.from({ length: count }, (_, index) => [`p${start + index}`, { rpm: 1 }]),
      );
    expect((await patch({ config: { rate_limits: limits(0, 49) } })).status).toBe(200);
    const { status, body } = await patch({ config: { rate_limits: limits(49, 1) } });
    expect([status, body.code]).toEqual([400, 'VALIDATION_FAILED']);
    expect((await patch({ config: { rate_limits: limits(0, 51) } })).status).toBe(400);
  });

  test('concurrent changes all take effect', async () => {
    const answers = await Promise.all(
      ['a', 'b', 'c', 'd'].map((provider) =>
        patch({ config: { rate_limits: { [provider]: { rpm: 1 } } } }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    const { body } = await service.call('admin', 'GET', '/instance/production');
    expect(Object.keys(body.rate_limits).toSorted()).toEqual(['a', 'b', 'c', 'd', 'ideogram']);
  });

  test('losing against others again and again is 409, and a deletion in between 404', async () => {
    const interfering = (sql: string) =>
      ({
        prepare(statement: string) {
          if (!statement.startsWith('UPDATE instances')) {
            return env.DB.prepare(statement);
          }
          return {
            bind: () => ({
              first: async () => {
                await env.DB.prepare(sql).run();
                return null;
              },
            }),
          };
        },
      }) as unknown as D1Database;
    service.env.DB = interfering('UPDATE instances SET version = version + 1');
    expect((await patch({ name: 'N' })).status).toBe(409);
    service.env.DB = interfering("DELETE FROM instances WHERE instance_id = 'production'");
    expect((await patch({ name: 'N' })).status).toBe(404);
  });
});

describe('deleting', () => {
  test('an instance goes with its projects, and is unknown afterwards', async () => {
    const { status, body } = await service.call('admin', 'DELETE', '/instance/production');
    expect(status).toBe(200);
    expect(body).toEqual({
      deleted: true,
      instance_id: 'production',
      request_id: expect.any(String),
    });
    expect((await service.call('admin', 'GET', '/instance/production')).status).toBe(404);
    expect((await service.call('admin', 'GET', '/project/content-forge')).status).toBe(404);
    expect((await service.call('admin', 'DELETE', '/instance/production')).status).toBe(404);
  });
});

describe('access', () => {
  const path = `/instance/production/access/${IDS.developerId}`;

  test('it is given once, listed, seen by the user, and taken back', async () => {
    expect((await service.call('user', 'GET', '/instance/production')).status).toBe(403);
    const given = await service.call('admin', 'PUT', path);
    expect(given.status).toBe(200);
    const item = {
      instance_id: 'production',
      user_id: IDS.developerId,
      email: 'developer@example.com',
      role: 'user',
      granted_by: IDS.orgAdminId,
      created_at: START,
    };
    expect(given.body).toEqual({ ...item, request_id: expect.any(String) });
    service.clock.now = new Date('2026-03-02T10:00:00.000Z');
    expect((await service.call('superadmin', 'PUT', path)).body).toMatchObject(item);
    const list = await service.call('admin', 'GET', '/instance/production/access');
    expect(list.body.items).toEqual([item]);
    expect((await service.call('user', 'GET', '/instance/production')).status).toBe(200);

    const taken = await service.call('admin', 'DELETE', path);
    expect(taken.body).toMatchObject({ deleted: true, user_id: IDS.developerId });
    expect((await service.call('user', 'GET', '/instance/production')).status).toBe(403);
    expect((await service.call('admin', 'DELETE', path)).status).toBe(404);
  });

  test('an unknown user is 404, one of another organisation 409', async () => {
    const give = (userId: string) =>
      service.call('superadmin', 'PUT', `/instance/production/access/${userId}`);
    expect((await give('none')).status).toBe(404);
    expect((await give(IDS.otherAdminId)).status).toBe(409);
  });

  test('who else has access is for administrators and services only', async () => {
    const users = async (caller: Parameters<TestService['call']>[0]) =>
      (await service.call(caller, 'GET', '/instance/development')).body.authorized_users;
    await service.call('admin', 'PUT', `/instance/development/access/${IDS.orgAdminId}`);
    expect(await users('admin')).toEqual([IDS.developerId, IDS.orgAdminId].toSorted());
    expect(await users('service')).toHaveLength(2);
    expect(await users('user')).toEqual([IDS.developerId]);
    expect(await users('project')).toEqual([]);
  });

  test('an access that vanishes while it is given is 409', async () => {
    service.env.DB = {
      prepare: (statement: string) =>
        statement.includes('JOIN users ON users.user_id = access.user_id')
          ? { bind: () => ({ first: () => Promise.resolve(null) }) }
          : env.DB.prepare(statement),
    } as unknown as D1Database;
    expect((await service.call('admin', 'PUT', path)).status).toBe(409);
  });
});

describe('the cache', () => {
  const entry = instanceConfigCacheKey('development');

  test.each([
    ['PATCH', '/instance/development', { body: { name: 'N' } }],
    ['DELETE', '/instance/development', {}],
    ['PUT', `/instance/development/access/${IDS.orgAdminId}`, {}],
    ['DELETE', `/instance/development/access/${IDS.developerId}`, {}],
    ['DELETE', `/user/${IDS.developerId}`, {}],
  ])('%s %s removes the entry of that instance only', async (method, path, options) => {
    await env.CONFIG_CACHE.put(entry, 'old');
    await env.CONFIG_CACHE.put(instanceConfigCacheKey('production'), 'kept');
    expect((await service.call('superadmin', method, path, options)).status).toBe(200);
    expect(await env.CONFIG_CACHE.get(entry)).toBeNull();
    expect(await env.CONFIG_CACHE.get(instanceConfigCacheKey('production'))).toBe('kept');
  });

  test('a refused change leaves it alone', async () => {
    await env.CONFIG_CACHE.put(entry, 'old');
    await service.call('user', 'PATCH', '/instance/development', { body: { name: 'N' } });
    await service.call('admin', 'PATCH', '/instance/development', { body: { name: '' } });
    expect(await env.CONFIG_CACHE.get(entry)).toBe('old');
  });

  test('a cache that fails is reported, and the change stands', async () => {
    service.env.CONFIG_CACHE = {
      delete: () => Promise.reject(new Error('KV DELETE failed: 500')),
    } as unknown as KVNamespace;
    const { status, body } = await patch({ name: 'Renamed' });
    expect([status, body.name]).toEqual([200, 'Renamed']);
    expect(service.lines).toEqual([expect.stringContaining('KV DELETE failed')]);
  });
});
