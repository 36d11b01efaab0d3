// Users and their keys.
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { isWellFormedKey } from '@/infrastructure/config-service/security/credentials';
import { errorBody, IDS, START, startService, type TestService, UUID } from './support';

let service: TestService;

beforeEach(async () => {
  service = await startService();
});

const create = (caller: Parameters<TestService['call']>[0], body: object) =>
  service.call(caller, 'POST', '/user', { body: { org_id: IDS.orgId, ...body } });

describe('users', () => {
  test('one is created with a UUID, a lower-case email and the role user', async () => {
    const answer = await create('admin', { email: 'New.User@Example.com' });
    expect(answer.status).toBe(201);
    expect(answer.body).toEqual({
      user_id: expect.stringMatching(UUID),
      email: 'new.user@example.com',
      role: 'user',
      org_id: IDS.orgId,
      instances: [],
      created_at: START,
      updated_at: START,
      request_id: expect.any(String),
    });
    expect(answer.headers.get('Location')).toBe(`/user/${answer.body.user_id}`);
    const read = await service.call('admin', 'GET', `/user/${answer.body.user_id}`);
    expect({ ...read.body, request_id: answer.body.request_id }).toEqual(answer.body);
  });

  test('a taken email is 409, in whatever case and organisation', async () => {
    const { status, body } = await create('superadmin', {
      email: 'ADMIN@example.com',
      org_id: IDS.otherOrgId,
    });
    expect(status).toBe(409);
    expect(body).toEqual(errorBody('CONFLICT'));
  });

  test.each([
    'plain',
    'a@b',
    'a b@c.d',
    '@c.d',
    'a@@c.d',
    'a\u0000@c.d',
    `${'x'.repeat(250)}@c.de`,
  ])('the email %j is 400', async (email) => {
    expect((await create('admin', { email })).status).toBe(400);
  });

  test('an unknown role is 400, an unknown organisation 404', async () => {
    expect((await create('admin', { email: 'a@b.c', role: 'root' })).status).toBe(400);
    expect((await create('admin', { email: 'a@b.c', org_id: 'none' })).status).toBe(404);
  });

  test('an admin makes admins, but never a superadmin', async () => {
    expect((await create('admin', { email: 'a@b.c', role: 'admin' })).status).toBe(201);
    expect((await create('admin', { email: 'b@b.c', role: 'superadmin' })).status).toBe(403);
    expect((await create('superadmin', { email: 'b@b.c', role: 'superadmin' })).status).toBe(201);
    const promote = (caller: 'admin' | 'superadmin') =>
      service.call(caller, 'PATCH', `/user/${IDS.developerId}`, { body: { role: 'superadmin' } });
    expect((await promote('admin')).status).toBe(403);
    expect((await promote('superadmin')).body.role).toBe('superadmin');
  });

  test('an admin does not touch a superadmin', async () => {
    const path = `/user/${IDS.adminId}`;
    const changed = await service.call('admin', 'PATCH', path, { body: { email: 'x@y.z' } });
    const deleted = await service.call('admin', 'DELETE', path);
    const key = await service.call('admin', 'POST', `${path}/key`);
    expect([changed.status, deleted.status, key.status]).toEqual([403, 403, 403]);
  });

  test('email and role are changed, and nothing else can be', async () => {
    service.clock.now = new Date('2026-03-02T10:00:00.000Z');
    const change = (body: object) =>
      service.call('admin', 'PATCH', `/user/${IDS.developerId}`, { body });
    expect((await change({ email: 'Dev@Example.com', role: 'admin' })).body).toMatchObject({
      email: 'dev@example.com',
      role: 'admin',
      instances: ['development'],
      updated_at: '2026-03-02T10:00:00.000Z',
    });
    expect((await change({})).status).toBe(400);
    expect((await change({ org_id: IDS.otherOrgId })).status).toBe(400);
    expect((await change({ email: 'admin@example.com' })).status).toBe(409);
  });

  test('a new role counts from the next request on', async () => {
    await service.call('admin', 'PATCH', `/user/${IDS.developerId}`, { body: { role: 'admin' } });
    expect((await service.call('user', 'GET', '/user')).status).toBe(200);
    expect((await service.call('user', 'GET', '/instance/production')).status).toBe(200);
  });

  test('nobody changes the own role or deletes the own account', async () => {
    const path = `/user/${IDS.orgAdminId}`;
    const change = (role: string) => service.call('admin', 'PATCH', path, { body: { role } });
    expect((await change('user')).status).toBe(403);
    expect((await change('admin')).status).toBe(200);
    expect((await service.call('admin', 'DELETE', path)).status).toBe(409);
  });

  test('a deleted user is gone with its keys', async () => {
    const { status, body } = await service.call('admin', 'DELETE', `/user/${IDS.developerId}`);
    expect(status).toBe(200);
    expect(body).toMatchObject({ deleted: true, user_id: IDS.developerId });
    expect((await service.call('user', 'GET', '/me')).status).toBe(401);
    expect((await service.call('admin', 'DELETE', `/user/${IDS.developerId}`)).status).toBe(404);
  });

  test('a user deleted while it is changed is 404', async () => {
    service.env.DB = {
      prepare: (statement: string) =>
        statement.startsWith('UPDATE users')
          ? { bind: () => ({ first: () => Promise.resolve(null) }) }
          : env.DB.prepare(statement),
    } as unknown as D1Database;
    const { status } = await service.call('admin', 'PATCH', `/user/${IDS.developerId}`, {
      body: { email: 'x@y.z' },
    });
    expect(status).toBe(404);
  });
});

describe('keys', () => {
  const keyPath = `/user/${IDS.developerId}/key`;

  test('a key is shown once, works, and is stored as a hash', async () => {
    const made = await service.call('user', 'POST', keyPath, { body: { name: 'laptop' } });
    expect(made.status).toBe(201);
    expect(made.headers.get('Location')).toBe(`/key/${made.body.key_id}`);
    const { key, request_id: _, ...rest } = made.body;
    expect(isWellFormedKey(key)).toBe(true);
    expect(rest).toEqual({
      key_id: expect.stringMatching(UUID),
      user_id: IDS.developerId,
      project_id: null,
      name: 'laptop',
      key_prefix: key.slice(0, 12),
      created_by: IDS.developerId,
      created_at: START,
      last_used_at: null,
      expires_at: null,
      revoked_at: null,
    });
    const use = await service.call('nobody', 'GET', '/me', {
      headers: { Authorization: `Bearer ${key}` },
    });
    expect(use.body).toMatchObject({ user_id: IDS.developerId, key_id: rest.key_id });

    await service.settle();
    const read = await service.call('user', 'GET', `/key/${rest.key_id}`);
    expect(read.body).toEqual({ ...rest, last_used_at: START, request_id: expect.any(String) });
    const stored = await env.DB.prepare('SELECT * FROM api_keys').all();
    expect(JSON.stringify(stored.results)).not.toContain(key);
  });

  test('a revoked key stops working at once and stays in the list', async () => {
    const { body } = await service.call('user', 'POST', keyPath);
    const use = () =>
      service.call('nobody', 'GET', '/me', { headers: { Authorization: `Bearer ${body.key}` } });
    expect((await use()).status).toBe(200);
    const revoke = () => service.call('user', 'DELETE', `/key/${body.key_id}`);
    expect((await revoke()).body.revoked_at).toBe(START);
    expect((await use()).status).toBe(401);
    service.clock.now = new Date('2026-03-02T10:00:00.000Z');
    const again = await revoke();
    expect([again.status, again.body.revoked_at]).toEqual([200, START]);
    const list = await service.call('user', 'GET', keyPath);
    expect(list.body.items.map((item) => item.key_id).toSorted()).toEqual(
      ['key-of-user', body.key_id].toSorted(),
    );
  });

  test('a key works until it expires', async () => {
    const { body } = await service.call('user', 'POST', keyPath, {
      body: { expires_at: '2026-03-01T10:00:01.000Z' },
    });
    const use = async () =>
      (
        await service.call('nobody', 'GET', '/me', {
          headers: { Authorization: `Bearer ${body.key}` },
        })
      ).status;
    service.clock.now = new Date('2026-03-01T10:00:00.999Z');
    expect(await use()).toBe(200);
    service.clock.now = new Date('2026-03-01T10:00:01.000Z');
    expect(await use()).toBe(401);
  });

  test.each([
    { expires_at: START },
    { expires_at: 'tomorrow' },
    { expires_at: '2027-01-01' },
    { name: 'x'.repeat(101) },
    { name: 'a\nb' },
    { key: 'mine' },
  ])('%j is 400', async (body) => {
    expect((await service.call('user', 'POST', keyPath, { body })).status).toBe(400);
  });

  test('an admin makes keys for users of its organisation and revokes them', async () => {
    const { status, body } = await service.call('admin', 'POST', keyPath);
    expect([status, body.created_by]).toEqual([201, IDS.orgAdminId]);
    expect((await service.call('otherAdmin', 'DELETE', `/key/${body.key_id}`)).status).toBe(403);
    expect((await service.call('admin', 'DELETE', `/key/${body.key_id}`)).status).toBe(200);
    expect((await service.call('admin', 'DELETE', '/key/none')).status).toBe(404);
  });

  test('a project has keys of its own, which reach no further than the project', async () => {
    const made = await service.call('admin', 'POST', '/project/content-forge/key');
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ user_id: null, project_id: 'content-forge' });
    const headers = { Authorization: `Bearer ${made.body.key}` };
    const statusOf = async (path: string) =>
      (await service.call('nobody', 'GET', path, { headers })).status;
    expect(await statusOf('/project/content-forge')).toBe(200);
    expect(await statusOf('/instance/production')).toBe(200);
    expect(await statusOf('/instance/development')).toBe(403);
    expect(await statusOf('/project/playground')).toBe(403);
    const list = await service.call('admin', 'GET', '/project/content-forge/key');
    expect(list.body.items).toHaveLength(1);
    expect((await service.call('admin', 'DELETE', `/key/${made.body.key_id}`)).status).toBe(200);
    expect(await statusOf('/project/content-forge')).toBe(401);
  });

  test('a key deleted while it is revoked is 404', async () => {
    service.env.DB = {
      prepare: (statement: string) =>
        statement.startsWith('UPDATE api_keys SET revoked_at')
          ? { bind: () => ({ first: () => Promise.resolve(null) }) }
          : env.DB.prepare(statement),
    } as unknown as D1Database;
    expect((await service.call('user', 'DELETE', '/key/key-of-user')).status).toBe(404);
  });
});
