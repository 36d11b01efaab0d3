// The typed queries against a real, seeded database.
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { parseJsonObject, parseTextArray } from '@/infrastructure/database/json';
import {
  deleteInstance,
  deleteOrganization,
  deleteProject,
  deleteUser,
  findKeyHolderByHash,
  getApiKeyById,
  getInstanceAccess,
  getInstanceById,
  getOrganizationById,
  getProjectById,
  getUserByEmail,
  getUserById,
  grantInstanceAccess,
  insertApiKey,
  insertInstance,
  insertOrganization,
  insertProject,
  insertUsageLog,
  insertUser,
  type KeyOwner,
  listApiKeys,
  listInstanceAccess,
  listInstances,
  listOrganizations,
  listProjects,
  listUsers,
  revokeApiKey,
  revokeInstanceAccess,
  summarizeInstanceUsage,
  touchApiKey,
  updateInstance,
  updateOrganization,
  updateProject,
  updateUser,
  violatedConstraint,
} from '@/infrastructure/database/queries';
import { freshDatabase, SEED } from './support';

const FIRST_PAGE = { limit: 100, after: null };
const NOW = '2026-02-01T12:00:00.000Z';
const LATER = '2026-02-01T13:00:00.000Z';
const HASH = 'ab'.repeat(32);

async function insertKey(keyId: string, owner: KeyOwner, hash = HASH): Promise<void> {
  await insertApiKey(env.DB, {
    key_id: keyId,
    owner,
    name: 'test',
    key_hash: hash,
    key_prefix: 'mas_AbCdEfGh',
    created_by: SEED.adminId,
    created_at: NOW,
    expires_at: null,
  });
}

beforeEach(async () => {
  await freshDatabase();
});

describe('organisations', () => {
  test('one is inserted, read, changed in part and deleted', async () => {
    const organization = {
      org_id: 'acme',
      name: 'Acme',
      billing_email: 'pay@acme.example',
      created_at: NOW,
      updated_at: NOW,
    };
    await insertOrganization(env.DB, organization);
    expect(await getOrganizationById(env.DB, 'acme')).toEqual(organization);
    expect(
      await updateOrganization(env.DB, 'acme', { name: 'Acme Ltd', updated_at: LATER }),
    ).toEqual({ ...organization, name: 'Acme Ltd', updated_at: LATER });
    expect(await deleteOrganization(env.DB, 'acme')).toBe(true);
    expect(await getOrganizationById(env.DB, 'acme')).toBeNull();
  });

  test('what is not there is null or false, not an error', async () => {
    expect(await updateOrganization(env.DB, 'none', { updated_at: NOW })).toBeNull();
    expect(await deleteOrganization(env.DB, 'none')).toBe(false);
  });

  test('the list can be narrowed to one', async () => {
    const { items } = await listOrganizations(env.DB, FIRST_PAGE, { orgId: SEED.orgId });
    expect(items.map(({ name }) => name)).toEqual(['Example Organisation']);
    expect((await listOrganizations(env.DB, FIRST_PAGE)).items).toEqual(items);
  });
});

describe('instances', () => {
  test('one is read with its configuration parsed and its users', async () => {
    expect(await getInstanceById(env.DB, 'development')).toEqual({
      instance_id: 'development',
      org_id: SEED.orgId,
      name: 'Development',
      config: {
        api_keys: {},
        rate_limits: { ideogram: { rpm: 10, tpm: 10000 } },
        worker_urls: {},
        r2_bucket: 'development-images',
      },
      version: 1,
      authorized_users: [SEED.developerId],
      created_at: '2026-01-01T00:00:02.000Z',
      updated_at: '2026-01-01T00:00:02.000Z',
    });
    expect(await getInstanceById(env.DB, 'none')).toBeNull();
  });

  test('insert returns what a read returns', async () => {
    const inserted = await insertInstance(env.DB, {
      instance_id: 'staging',
      org_id: SEED.orgId,
      name: 'Staging',
      config: { r2_bucket: null },
      created_at: NOW,
    });
    expect(await getInstanceById(env.DB, 'staging')).toEqual(inserted);
  });

  test('an update of an outdated version writes nothing', async () => {
    const change = { name: 'One', config: {}, updated_at: NOW };
    expect(await updateInstance(env.DB, 'production', 1, change)).toMatchObject({
      name: 'One',
      config: {},
      version: 2,
    });
    expect(await updateInstance(env.DB, 'production', 1, { ...change, name: 'Two' })).toBeNull();
    expect(await getInstanceById(env.DB, 'production')).toMatchObject({ name: 'One', version: 2 });
  });

  test('the list is narrowed by organisation, id and user', async () => {
    const ids = async (filter: Parameters<typeof listInstances>[2]) =>
      (await listInstances(env.DB, FIRST_PAGE, filter)).items.map((item) => item.instance_id);
    expect(await ids({})).toEqual(['production', 'development']);
    expect(await ids({ orgId: 'none' })).toEqual([]);
    expect(await ids({ orgId: SEED.orgId, instanceId: 'production' })).toEqual(['production']);
    expect(await ids({ accessibleTo: SEED.developerId })).toEqual(['development']);
  });

  test('one is deleted once', async () => {
    expect(await deleteInstance(env.DB, 'development')).toBe(true);
    expect(await deleteInstance(env.DB, 'development')).toBe(false);
  });
});

describe('pages', () => {
  test('they cover everything once, in order, also when times are equal', async () => {
    for (const name of ['e', 'c', 'a', 'd', 'b']) {
      await insertInstance(env.DB, {
        instance_id: name,
        org_id: SEED.orgId,
        name,
        config: {},
        created_at: NOW,
      });
    }
    const seen: string[] = [];
    let after: { created_at: string; id: string } | null = null;
    do {
      const page: Awaited<ReturnType<typeof listInstances>> = await listInstances(env.DB, {
        limit: 3,
        after,
      });
      expect(page.items.length).toBeLessThanOrEqual(3);
      seen.push(...page.items.map((item) => item.instance_id));
      after = page.next;
    } while (after !== null);
    expect(seen).toEqual(['production', 'development', 'a', 'b', 'c', 'd', 'e']);
  });

  test('a page that ends with the last item says so', async () => {
    const page = await listInstances(env.DB, { limit: 2, after: null });
    expect(page.items).toHaveLength(2);
    expect(page.next).toBeNull();
  });

  test('a row deleted between two pages shifts nothing', async () => {
    const first = await listUsers(env.DB, { limit: 1, after: null });
    await deleteUser(env.DB, SEED.adminId);
    const second = await listUsers(env.DB, { limit: 1, after: first.next });
    expect(second.items.map((user) => user.user_id)).toEqual([SEED.developerId]);
  });
});

describe('users and access', () => {
  test('a user is found by id and, regardless of case, by email', async () => {
    const user = await getUserById(env.DB, SEED.developerId);
    expect(user).toMatchObject({ role: 'user', instances: ['development'] });
    expect(await getUserByEmail(env.DB, 'DEVELOPER@example.com')).toEqual(user);
    expect(await getUserById(env.DB, 'none')).toBeNull();
    expect(await getUserByEmail(env.DB, 'none@example.com')).toBeNull();
  });

  test('one is inserted, changed in part and deleted', async () => {
    const inserted = await insertUser(env.DB, {
      user_id: 'u',
      email: 'u@example.com',
      role: 'user',
      org_id: SEED.orgId,
      created_at: NOW,
    });
    expect(await getUserById(env.DB, 'u')).toEqual(inserted);
    expect(await updateUser(env.DB, 'u', { role: 'admin', updated_at: LATER })).toEqual({
      ...inserted,
      role: 'admin',
      updated_at: LATER,
    });
    expect(await updateUser(env.DB, 'none', { updated_at: LATER })).toBeNull();
    expect((await listUsers(env.DB, FIRST_PAGE, { orgId: SEED.orgId })).items).toHaveLength(3);
    expect((await listUsers(env.DB, FIRST_PAGE, { orgId: 'none' })).items).toEqual([]);
    expect(await deleteUser(env.DB, 'u')).toBe(true);
    expect(await deleteUser(env.DB, 'u')).toBe(false);
  });

  test('access is given once, listed and taken back', async () => {
    const grant = {
      instance_id: 'production',
      user_id: SEED.developerId,
      granted_by: SEED.adminId,
      created_at: NOW,
    };
    await grantInstanceAccess(env.DB, grant);
    await grantInstanceAccess(env.DB, { ...grant, granted_by: null, created_at: LATER });
    const item = { ...grant, email: 'developer@example.com', role: 'user' };
    expect(await getInstanceAccess(env.DB, 'production', SEED.developerId)).toEqual(item);
    expect((await listInstanceAccess(env.DB, 'production', FIRST_PAGE)).items).toEqual([item]);
    expect(await revokeInstanceAccess(env.DB, 'production', SEED.developerId)).toBe(true);
    expect(await revokeInstanceAccess(env.DB, 'production', SEED.developerId)).toBe(false);
    expect(await getInstanceAccess(env.DB, 'production', SEED.developerId)).toBeNull();
  });
});

describe('projects', () => {
  test('one is inserted, read with its organisation, changed in part and deleted', async () => {
    await insertProject(env.DB, {
      project_id: 'p',
      instance_id: 'production',
      name: 'P',
      settings: { a: 1 },
      created_at: NOW,
    });
    const project = {
      project_id: 'p',
      instance_id: 'production',
      org_id: SEED.orgId,
      name: 'P',
      settings: { a: 1 },
      created_at: NOW,
      updated_at: NOW,
    };
    expect(await getProjectById(env.DB, 'p')).toEqual(project);
    expect(await updateProject(env.DB, 'p', { settings: { b: [2] }, updated_at: LATER })).toBe(
      true,
    );
    expect(await updateProject(env.DB, 'p', { name: 'Q', updated_at: LATER })).toBe(true);
    expect(await getProjectById(env.DB, 'p')).toEqual({
      ...project,
      name: 'Q',
      settings: { b: [2] },
      updated_at: LATER,
    });
    expect(await updateProject(env.DB, 'none', { updated_at: LATER })).toBe(false);
    expect(await deleteProject(env.DB, 'p')).toBe(true);
    expect(await deleteProject(env.DB, 'p')).toBe(false);
    expect(await getProjectById(env.DB, 'p')).toBeNull();
  });

  test('the list is narrowed by instance, id, organisation and user', async () => {
    const ids = async (filter: Parameters<typeof listProjects>[2]) =>
      (await listProjects(env.DB, FIRST_PAGE, filter)).items.map((item) => item.project_id);
    expect(await ids({})).toEqual(['content-forge', 'playground']);
    expect(await ids({ instanceId: 'production' })).toEqual(['content-forge']);
    expect(await ids({ projectId: 'playground' })).toEqual(['playground']);
    expect(await ids({ orgId: 'none' })).toEqual([]);
    expect(await ids({ accessibleTo: SEED.developerId })).toEqual(['playground']);
  });
});

describe('keys', () => {
  test("a user's key stands for the user and the instances it has been given", async () => {
    await insertKey('k', { user_id: SEED.developerId });
    expect(await findKeyHolderByHash(env.DB, HASH)).toEqual({
      key_id: 'k',
      key_hash: HASH,
      last_used_at: null,
      expires_at: null,
      revoked_at: null,
      user_id: SEED.developerId,
      email: 'developer@example.com',
      role: 'user',
      org_id: SEED.orgId,
      project_id: null,
      instances: ['development'],
    });
  });

  test("an administrator's key reaches all instances of its organisation and no other", async () => {
    await insertOrganization(env.DB, {
      org_id: 'acme',
      name: 'Acme',
      billing_email: 'pay@acme.example',
      created_at: NOW,
      updated_at: NOW,
    });
    await insertInstance(env.DB, {
      instance_id: 'acme-main',
      org_id: 'acme',
      name: 'Main',
      config: {},
      created_at: NOW,
    });
    await insertKey('k', { user_id: SEED.adminId });
    expect(await findKeyHolderByHash(env.DB, HASH)).toMatchObject({
      role: 'superadmin',
      instances: ['development', 'production'],
    });
  });

  test("a project's key stands for nobody and reaches the project's instance", async () => {
    await insertKey('k', { project_id: 'content-forge' });
    expect(await findKeyHolderByHash(env.DB, HASH)).toMatchObject({
      user_id: null,
      email: null,
      role: 'user',
      org_id: SEED.orgId,
      project_id: 'content-forge',
      instances: ['production'],
    });
  });

  test('an unknown hash finds nothing', async () => {
    expect(await findKeyHolderByHash(env.DB, HASH)).toBeNull();
    expect(await getApiKeyById(env.DB, 'none')).toBeNull();
    expect(await revokeApiKey(env.DB, 'none', NOW)).toBeNull();
  });

  test('a revoked key is still found, and keeps the date of its first revocation', async () => {
    await insertKey('k', { user_id: SEED.developerId });
    await revokeApiKey(env.DB, 'k', NOW);
    expect(await revokeApiKey(env.DB, 'k', LATER)).toMatchObject({ revoked_at: NOW });
    expect(await findKeyHolderByHash(env.DB, HASH)).toMatchObject({ revoked_at: NOW });
  });

  test('the last use moves forward only', async () => {
    await insertKey('k', { user_id: SEED.developerId });
    await touchApiKey(env.DB, 'k', LATER);
    await touchApiKey(env.DB, 'k', NOW);
    expect(await getApiKeyById(env.DB, 'k')).toMatchObject({ last_used_at: LATER });
  });

  test('the keys of one owner are listed without their hashes', async () => {
    await insertKey('k1', { user_id: SEED.developerId }, '1'.repeat(64));
    await insertKey('k2', { project_id: 'playground' }, '2'.repeat(64));
    const ofUser = await listApiKeys(env.DB, { user_id: SEED.developerId }, FIRST_PAGE);
    const ofProject = await listApiKeys(env.DB, { project_id: 'playground' }, FIRST_PAGE);
    expect(ofUser.items.map((key) => key.key_id)).toEqual(['k1']);
    expect(ofProject.items.map((key) => key.key_id)).toEqual(['k2']);
    expect(ofUser.items[0]).not.toHaveProperty('key_hash');
  });
});

describe('usage', () => {
  test('the same record twice counts once, and the range excludes its end', async () => {
    const usage = {
      log_id: 'l1',
      org_id: SEED.orgId,
      instance_id: 'production',
      project_id: 'content-forge',
      user_id: SEED.developerId,
      request_id: 'r1',
      timestamp: NOW,
      provider: 'ideogram',
      model: 'ideogram-v2',
      tokens_used: 10,
      cost: 80_000,
      created_at: NOW,
    };
    await insertUsageLog(env.DB, usage);
    await insertUsageLog(env.DB, { ...usage, cost: 1 });
    await insertUsageLog(env.DB, { ...usage, log_id: 'l2', timestamp: LATER });
    const sum = async (from: string, to: string) =>
      await summarizeInstanceUsage(env.DB, 'production', { from, to });
    expect(await sum(NOW, LATER)).toEqual({ requests: 1, tokens_used: 10, cost: 80_000 });
    expect(await sum(NOW, '2027')).toEqual({ requests: 2, tokens_used: 20, cost: 160_000 });
    expect(await sum('2030', '2031')).toEqual({ requests: 0, tokens_used: 0, cost: 0 });
  });
});

describe('errors and JSON', () => {
  test('constraint violations are told apart', async () => {
    const violation = async (promise: Promise<unknown>) =>
      violatedConstraint(await promise.then(() => null).catch((error: unknown) => error));
    const user = {
      user_id: 'u',
      email: 'admin@example.com',
      role: 'user',
      org_id: SEED.orgId,
      created_at: NOW,
    } as const;
    expect(await violation(insertUser(env.DB, user))).toBe('unique');
    expect(
      await violation(insertUser(env.DB, { ...user, email: 'u@example.com', org_id: 'none' })),
    ).toBe('foreign_key');
    expect(await violation(insertUser(env.DB, { ...user, user_id: '' }))).toBe('check');
    expect(violatedConstraint(new Error('no such table: users'))).toBeNull();
    expect(violatedConstraint('UNIQUE constraint failed')).toBeNull();
  });

  test('a damaged JSON column is an error, not a wrong value', () => {
    expect(() => parseJsonObject('[]')).toThrow(TypeError);
    expect(() => parseJsonObject('{')).toThrow(SyntaxError);
    expect(() => parseTextArray('{}')).toThrow(TypeError);
  });
});
