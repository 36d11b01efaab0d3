// Projects and organisations.
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { errorBody, IDS, START, startService, type TestService, UUID } from './support';

let service: TestService;

beforeEach(async () => {
  service = await startService();
});

/** The real database, except that updates of `table` find nothing, as if the row had just been deleted. */
function losingUpdatesOf(table: string): D1Database {
  return {
    prepare: (statement: string) =>
      statement.startsWith(`UPDATE ${table}`)
        ? { bind: () => ({ first: () => Promise.resolve(null) }) }
        : env.DB.prepare(statement),
  } as unknown as D1Database;
}

/** An object with objects within, this many in all. */
function nested(levels: number): object {
  return levels === 1 ? {} : { a: nested(levels - 1) };
}

describe('projects', () => {
  const create = (body: object) =>
    service.call('admin', 'POST', '/project', { body: { instance_id: 'production', ...body } });

  test('one is created, read, changed and deleted', async () => {
    const settings = { style: { palette: ['red', 1, true, null] } };
    const made = await create({ project_id: 'posters', name: 'Posters', settings });
    expect(made.status).toBe(201);
    expect(made.headers.get('Location')).toBe('/project/posters');
    const project = {
      project_id: 'posters',
      instance_id: 'production',
      name: 'Posters',
      settings,
      created_at: START,
      updated_at: START,
      request_id: expect.any(String),
    };
    expect(made.body).toEqual(project);
    expect((await service.call('admin', 'GET', '/project/posters')).body).toEqual(project);

    service.clock.now = new Date('2026-03-02T10:00:00.000Z');
    const changed = await service.call('admin', 'PATCH', '/project/posters', {
      body: { settings: { style: null } },
    });
    expect(changed.body).toEqual({
      ...project,
      settings: { style: null },
      updated_at: '2026-03-02T10:00:00.000Z',
    });
    const removed = await service.call('admin', 'DELETE', '/project/posters');
    expect(removed.body).toMatchObject({ deleted: true, project_id: 'posters' });
    expect((await service.call('admin', 'GET', '/project/posters')).status).toBe(404);
  });

  test('without id and settings it gets a UUID and none', async () => {
    const { body } = await create({ name: 'P' });
    expect(body).toMatchObject({ project_id: expect.stringMatching(UUID), settings: {} });
  });

  test('a taken id, or a name taken within the instance, is 409', async () => {
    const taken = await create({ project_id: 'playground', name: 'P' });
    expect([taken.status, taken.body]).toEqual([409, errorBody('CONFLICT')]);
    expect((await create({ name: 'Content Forge' })).status).toBe(409);
    expect((await create({ instance_id: 'development', name: 'Content Forge' })).status).toBe(201);
    await create({ project_id: 'p', name: 'P' });
    const renamed = await service.call('admin', 'PATCH', '/project/p', {
      body: { name: 'Content Forge' },
    });
    expect(renamed.status).toBe(409);
  });

  test('an unknown instance is 404, that of others 403', async () => {
    expect((await create({ instance_id: 'none', name: 'P' })).status).toBe(404);
    expect((await create({ instance_id: IDS.otherInstanceId, name: 'P' })).status).toBe(403);
  });

  test.each([
    { name: '' },
    { name: 'P', settings: [] },
    { name: 'P', settings: 'x' },
    { name: 'P', settings: null },
    { name: 'P', settings: nested(33) },
    { name: 'P', settings: { a: 'x'.repeat(16 * 1024) } },
    { name: 'P', org_id: 'acme' },
  ])('%j is 400', async (body) => {
    expect((await create(body)).status).toBe(400);
  });

  test('settings may be nested 32 deep; what is deeper is 400, however deep', async () => {
    expect((await create({ name: 'P', settings: nested(32) })).status).toBe(201);
    const depth = 20_000;
    const settings = `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`;
    const { status } = await service.call('admin', 'POST', '/project', {
      body: `{"instance_id":"production","name":"Q","settings":${settings}}`,
    });
    expect(status).toBe(400);
  });

  test('a change of nothing is 400', async () => {
    const { status } = await service.call('admin', 'PATCH', '/project/playground', { body: {} });
    expect(status).toBe(400);
  });
});

describe('organisations', () => {
  test('a superadmin creates one, its admin edits it, and it is deleted when it is empty', async () => {
    const made = await service.call('superadmin', 'POST', '/organization', {
      body: { org_id: 'globex', name: 'Globex', billing_email: 'Pay@Globex.example' },
    });
    expect(made.status).toBe(201);
    expect(made.headers.get('Location')).toBe('/organization/globex');
    expect(made.body).toEqual({
      org_id: 'globex',
      name: 'Globex',
      billing_email: 'pay@globex.example',
      created_at: START,
      updated_at: START,
      request_id: expect.any(String),
    });
    const removed = await service.call('superadmin', 'DELETE', '/organization/globex');
    expect(removed.body).toMatchObject({ deleted: true, org_id: 'globex' });
    expect((await service.call('superadmin', 'DELETE', '/organization/globex')).status).toBe(404);
  });

  test('an id that nobody gave is a UUID; a taken one is 409', async () => {
    const post = (body: object) =>
      service.call('superadmin', 'POST', '/organization', {
        body: { name: 'N', billing_email: 'a@b.c', ...body },
      });
    expect((await post({})).body.org_id).toMatch(UUID);
    expect((await post({ org_id: IDS.orgId })).status).toBe(409);
  });

  test('an admin edits its own', async () => {
    const path = `/organization/${IDS.otherOrgId}`;
    const { body } = await service.call('otherAdmin', 'PATCH', path, { body: { name: 'Acme 2' } });
    expect(body).toMatchObject({ name: 'Acme 2', billing_email: 'pay@acme.example' });
    expect((await service.call('otherAdmin', 'PATCH', path, { body: {} })).status).toBe(400);
    expect((await service.call('otherAdmin', 'GET', path)).body.name).toBe('Acme 2');
  });

  test('one that still has something is 409', async () => {
    const { status, body } = await service.call(
      'superadmin',
      'DELETE',
      `/organization/${IDS.otherOrgId}`,
    );
    expect(status).toBe(409);
    expect(body).toEqual(errorBody('CONFLICT'));
  });

  test('one deleted while it is changed is 404', async () => {
    service.env.DB = losingUpdatesOf('organizations');
    const { status } = await service.call('admin', 'PATCH', `/organization/${IDS.orgId}`, {
      body: { name: 'N' },
    });
    expect(status).toBe(404);
  });
});
