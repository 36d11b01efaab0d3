// The table of rights of the specification, every route against every caller.
import { beforeAll, describe, expect, test } from 'vitest';
import { type Caller, IDS, startService, type TestService } from './support';

const CALLERS: Caller[] = ['superadmin', 'admin', 'user', 'project', 'otherAdmin', 'service'];

interface Row {
  method: string;
  path: string;
  /** Who gets past authorisation. Bodies are left out, so that getting past it shows as a 400 and changes nothing. */
  allowed: Caller[];
}

const MANAGERS: Caller[] = ['superadmin', 'admin'];
const ROWS: Row[] = [
  { method: 'GET', path: '/me', allowed: [...MANAGERS, 'user', 'project', 'otherAdmin'] },
  { method: 'GET', path: '/organization', allowed: [...MANAGERS, 'otherAdmin'] },
  { method: 'POST', path: '/organization', allowed: ['superadmin'] },
  { method: 'GET', path: `/organization/${IDS.orgId}`, allowed: MANAGERS },
  { method: 'PATCH', path: `/organization/${IDS.orgId}`, allowed: MANAGERS },
  { method: 'GET', path: '/instance', allowed: CALLERS },
  {
    method: 'GET',
    path: `/instance?org_id=${IDS.orgId}`,
    allowed: [...MANAGERS, 'user', 'project', 'service'],
  },
  { method: 'POST', path: '/instance', allowed: [...MANAGERS, 'otherAdmin'] },
  { method: 'GET', path: '/instance/production', allowed: [...MANAGERS, 'service'] },
  {
    method: 'GET',
    path: '/instance/development',
    allowed: [...MANAGERS, 'user', 'project', 'service'],
  },
  { method: 'PATCH', path: '/instance/development', allowed: MANAGERS },
  { method: 'GET', path: '/instance/development/access', allowed: MANAGERS },
  { method: 'GET', path: '/user', allowed: [...MANAGERS, 'otherAdmin'] },
  { method: 'GET', path: `/user?org_id=${IDS.orgId}`, allowed: MANAGERS },
  { method: 'POST', path: '/user', allowed: [...MANAGERS, 'otherAdmin'] },
  { method: 'GET', path: `/user/${IDS.developerId}`, allowed: [...MANAGERS, 'user'] },
  { method: 'GET', path: `/user/${IDS.adminId}`, allowed: MANAGERS },
  { method: 'PATCH', path: `/user/${IDS.developerId}`, allowed: MANAGERS },
  { method: 'PATCH', path: `/user/${IDS.adminId}`, allowed: ['superadmin'] },
  { method: 'GET', path: `/user/${IDS.developerId}/key`, allowed: [...MANAGERS, 'user'] },
  { method: 'GET', path: `/user/${IDS.adminId}/key`, allowed: ['superadmin'] },
  { method: 'GET', path: '/project', allowed: CALLERS },
  { method: 'GET', path: '/project?instance_id=production', allowed: [...MANAGERS, 'service'] },
  {
    method: 'GET',
    path: '/project?instance_id=development',
    allowed: [...MANAGERS, 'user', 'project', 'service'],
  },
  { method: 'POST', path: '/project', allowed: [...MANAGERS, 'otherAdmin'] },
  {
    method: 'GET',
    path: '/project/playground',
    allowed: [...MANAGERS, 'user', 'project', 'service'],
  },
  { method: 'GET', path: '/project/content-forge', allowed: [...MANAGERS, 'service'] },
  { method: 'PATCH', path: '/project/playground', allowed: MANAGERS },
  { method: 'GET', path: '/project/playground/key', allowed: MANAGERS },
  { method: 'GET', path: '/key/key-of-user', allowed: [...MANAGERS, 'user'] },
  { method: 'GET', path: '/key/key-of-project', allowed: MANAGERS },
  { method: 'GET', path: '/key/key-of-superadmin', allowed: ['superadmin'] },
];

/** Deleting is tried only by those who may not, so that the rows above keep what they look at. */
const FORBIDDEN_WRITES: Row[] = [
  { method: 'DELETE', path: `/organization/${IDS.orgId}`, allowed: ['superadmin'] },
  { method: 'DELETE', path: '/instance/development', allowed: MANAGERS },
  { method: 'PUT', path: `/instance/production/access/${IDS.developerId}`, allowed: MANAGERS },
  { method: 'DELETE', path: `/instance/development/access/${IDS.developerId}`, allowed: MANAGERS },
  { method: 'DELETE', path: `/user/${IDS.developerId}`, allowed: MANAGERS },
  { method: 'POST', path: `/user/${IDS.developerId}/key`, allowed: [...MANAGERS, 'user'] },
  { method: 'POST', path: '/project/playground/key', allowed: MANAGERS },
  { method: 'DELETE', path: '/project/playground', allowed: MANAGERS },
  { method: 'DELETE', path: '/key/key-of-user', allowed: [...MANAGERS, 'user'] },
];

describe('rights', () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startService();
  });

  test.each(ROWS)('$method $path', async ({ method, path, allowed }) => {
    const body = method === 'GET' ? {} : { body: {} };
    const passed: Caller[] = [];
    for (const caller of CALLERS) {
      const { status } = await service.call(caller, method, path, body);
      expect([200, 400, 403], `${caller} ${status}`).toContain(status);
      if (status !== 403) {
        passed.push(caller);
      }
    }
    expect(passed.toSorted()).toEqual(allowed.toSorted());
    expect((await service.call('nobody', method, path, body)).status).toBe(401);
  });

  test.each(FORBIDDEN_WRITES)('$method $path', async ({ method, path, allowed }) => {
    for (const caller of CALLERS.filter((candidate) => !allowed.includes(candidate))) {
      const { status } = await service.call(caller, method, path);
      expect(status, caller).toBe(403);
    }
    expect((await service.call('nobody', method, path)).status).toBe(401);
  });

  test('what does not exist is 404 for everybody whose role may ask', async () => {
    for (const path of [
      '/instance/none',
      '/project/none',
      '/user/none',
      '/key/none',
      '/user/none/key',
    ]) {
      expect((await service.call('user', 'GET', path)).status, path).toBe(404);
    }
    for (const path of [
      '/organization/none',
      '/instance/none/access',
      '/project/none/key',
      '/instance?org_id=none',
      '/user?org_id=none',
      '/project?instance_id=none',
    ]) {
      expect((await service.call('admin', 'GET', path)).status, path).toBe(404);
    }
  });

  test('lists hold what the caller may read and nothing else', async () => {
    const ids = async (
      caller: Caller,
      path: string,
      field: 'instance_id' | 'project_id' | 'user_id' | 'org_id',
    ) => {
      const { body } = await service.call(caller, 'GET', path);
      return body.items.map((item) => item[field]).toSorted();
    };
    const all = ['acme-main', 'development', 'production'];
    expect(await ids('superadmin', '/instance', 'instance_id')).toEqual(all);
    expect(await ids('service', '/instance', 'instance_id')).toEqual(all);
    expect(await ids('admin', '/instance', 'instance_id')).toEqual(['development', 'production']);
    expect(await ids('user', '/instance', 'instance_id')).toEqual(['development']);
    expect(await ids('user', `/instance?org_id=${IDS.orgId}`, 'instance_id')).toEqual([
      'development',
    ]);
    expect(await ids('project', '/instance', 'instance_id')).toEqual(['development']);
    expect(await ids('superadmin', '/instance?org_id=acme', 'instance_id')).toEqual(['acme-main']);

    expect(await ids('superadmin', '/project', 'project_id')).toHaveLength(3);
    expect(await ids('service', '/project?instance_id=production', 'project_id')).toEqual([
      'content-forge',
    ]);
    expect(await ids('admin', '/project', 'project_id')).toEqual(['content-forge', 'playground']);
    expect(await ids('user', '/project', 'project_id')).toEqual(['playground']);
    expect(await ids('project', '/project', 'project_id')).toEqual(['playground']);

    expect(await ids('superadmin', '/user', 'user_id')).toHaveLength(4);
    expect(await ids('otherAdmin', '/user', 'user_id')).toEqual(['acme-admin']);
    expect(await ids('superadmin', '/user?org_id=acme', 'user_id')).toEqual(['acme-admin']);
    expect(await ids('superadmin', '/organization', 'org_id')).toEqual(['acme', 'example-org']);
    expect(await ids('otherAdmin', '/organization', 'org_id')).toEqual(['acme']);
  });

  test('me tells who the caller is', async () => {
    expect((await service.call('user', 'GET', '/me')).body).toEqual({
      user_id: IDS.developerId,
      email: 'developer@example.com',
      role: 'user',
      org_id: IDS.orgId,
      project_id: null,
      instances: ['development'],
      permissions: ['image:generate', 'instance:read', 'key:write', 'project:read', 'user:read'],
      key_id: 'key-of-user',
      request_id: expect.any(String),
    });
    expect((await service.call('project', 'GET', '/me')).body).toMatchObject({
      user_id: null,
      email: null,
      role: 'user',
      org_id: IDS.orgId,
      project_id: 'playground',
      instances: ['development'],
      permissions: ['image:generate', 'instance:read', 'project:read'],
    });
    const superadmin = await service.call('superadmin', 'GET', '/me');
    expect(superadmin.body.permissions).toContain('organization:create');
    expect(superadmin.body.instances).toEqual(['development', 'production']);
    expect((await service.call('admin', 'GET', '/me')).body.permissions).toHaveLength(11);
  });
});
