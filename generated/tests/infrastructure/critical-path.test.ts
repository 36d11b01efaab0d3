// The four components together, as another Worker uses them: an instance is created, its user authenticated, its
// configuration fetched; and what one component changes, the others see.
import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { firstKeyStatement } from '@/infrastructure/auth/bootstrap';
import { generateApiKey } from '@/infrastructure/auth/key-manager';
import { authMiddleware, withAuth } from '@/infrastructure/auth/middleware';
import { type ConfigServiceEnv, createConfigService } from '@/infrastructure/config-service/index';
import { insertUsageLog, summarizeInstanceUsage } from '@/infrastructure/database/queries';
import { resolveInstance } from '@/infrastructure/lookup/instance-resolver';
import { type LookupEnv, LookupError } from '@/infrastructure/lookup/types';
import { freshDatabase, runScript, SEED } from '@/tests/database/support';

const SERVICE_TOKEN = 'planted-service-token-0123456789abcdef';
const PROVIDER_KEY = 'planted-provider-key-0123456789abcdef';
const START = new Date('2026-03-01T10:00:00.000Z');
const FIVE_MINUTES_MS = 5 * 60 * 1000;

interface Answer {
  status: number;
  body: Record<string, unknown>;
}

/** Our side of the network: a Config Service, and a Worker that asks it for configurations. */
interface System {
  clock: { now: Date };
  /** False takes the Config Service away from the Worker. */
  serviceIsUp: { value: boolean };
  /** Everything that was logged. */
  lines: string[];
  manage: (key: string, method: string, path: string, body?: object) => Promise<Answer>;
  /** A request to the Worker, which answers with the configuration that it would work with. */
  work: (key: string, headers?: Record<string, string>) => Promise<Answer>;
}

async function answerOf(response: Response): Promise<Answer> {
  return { status: response.status, body: await response.json<Record<string, unknown>>() };
}

function startSystem(): System {
  const clock = { now: START };
  const serviceIsUp = { value: true };
  const lines: string[] = [];
  const now = () => clock.now;
  const report = (error: unknown) => lines.push(String(error));

  const service = createConfigService({ now, log: (line) => lines.push(line) });
  const serviceEnv: ConfigServiceEnv = {
    DB: env.DB,
    CONFIG_CACHE: env.CONFIG_CACHE,
    PROVIDER_KEY_ENCRYPTION_KEYS: 'k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=',
    SERVICE_TOKEN,
  };
  const callService = async (request: Request) => {
    const executionContext = createExecutionContext();
    const response = await service.fetch(request, serviceEnv, executionContext);
    await waitOnExecutionContext(executionContext);
    return response;
  };

  const workerEnv: LookupEnv = {
    DB: env.DB,
    CONFIG_CACHE: env.CONFIG_CACHE,
    CONFIG_SERVICE: {
      fetch: (request) =>
        serviceIsUp.value ? callService(request) : Promise.reject(new Error('connection refused')),
    },
    SERVICE_TOKEN,
    CACHE_ENCRYPTION_KEY: 'AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=',
  };
  const worker = withAuth<LookupEnv>(
    async (request, bindings, ctx) => {
      const requestId = crypto.randomUUID();
      try {
        const config = await resolveInstance(
          {
            auth: ctx.auth,
            instanceId: request.headers.get('X-Instance-ID'),
            projectId: request.headers.get('X-Test-Project'),
            requestId,
          },
          bindings,
          { executionContext: ctx, now, report },
        );
        return Response.json(config);
      } catch (error) {
        if (error instanceof LookupError) {
          return error.toResponse(requestId);
        }
        throw error;
      }
    },
    { now, report },
  );

  const authorization = (key: string) => ({ Authorization: `Bearer ${key}` });
  return {
    clock,
    serviceIsUp,
    lines,
    async manage(key, method, path, body) {
      const request = new Request(`https://config.example.com${path}`, {
        method,
        headers: { ...authorization(key), 'Content-Type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return await answerOf(await callService(request));
    },
    async work(key, headers = {}) {
      const request = new Request('https://worker.example.com/', {
        headers: { ...authorization(key), ...headers },
      });
      const ctx = createExecutionContext();
      const response = await worker(request, workerEnv, ctx);
      await waitOnExecutionContext(ctx);
      return await answerOf(response);
    },
  };
}

/** The key of the seed's superadmin, made as an operator makes the first key. */
async function firstKey(): Promise<string> {
  const generated = await generateApiKey();
  await runScript(
    firstKeyStatement({ keyId: 'first', userId: SEED.adminId, createdAt: START, generated }),
  );
  return generated.key;
}

let system: System;
let adminKey: string;

beforeEach(async () => {
  await freshDatabase();
  const { keys } = await env.CONFIG_CACHE.list();
  await Promise.all(keys.map(({ name }) => env.CONFIG_CACHE.delete(name)));
  system = startSystem();
  adminKey = await firstKey();
});

/** An organisation with an instance, a project, and a user that may use it: everything through the API. */
async function setUpCustomer(): Promise<{ userId: string; userKey: string; projectKey: string }> {
  const create = async (path: string, body: object) => {
    const { status, body: created } = await system.manage(adminKey, 'POST', path, body);
    expect(status, `${path}: ${JSON.stringify(created)}`).toBe(201);
    return created;
  };
  await create('/organization', {
    org_id: 'globex',
    name: 'Globex',
    billing_email: 'pay@globex.example',
  });
  await create('/instance', {
    instance_id: 'globex-main',
    org_id: 'globex',
    name: 'Main',
    config: {
      api_keys: { ideogram: PROVIDER_KEY },
      rate_limits: { ideogram: { rpm: 60 } },
      r2_bucket: 'globex-images',
    },
  });
  await create('/project', { project_id: 'posters', instance_id: 'globex-main', name: 'Posters' });
  const user = await create('/user', { org_id: 'globex', email: 'dev@globex.example' });
  const userId = String(user.user_id);
  const granted = await system.manage(adminKey, 'PUT', `/instance/globex-main/access/${userId}`);
  expect(granted.status).toBe(200);
  const userKey = await create(`/user/${userId}/key`, { name: 'laptop' });
  const projectKey = await create('/project/posters/key', { name: 'deployment' });
  return { userId, userKey: String(userKey.key), projectKey: String(projectKey.key) };
}

describe('the critical path', () => {
  test('create an instance, authenticate, fetch its configuration', async () => {
    const { userKey } = await setUpCustomer();
    const { status, body } = await system.work(userKey);
    expect(status).toBe(200);
    expect(body).toEqual({
      instance_id: 'globex-main',
      org_id: 'globex',
      name: 'Main',
      api_keys: { ideogram: PROVIDER_KEY },
      rate_limits: { ideogram: { rpm: 60 } },
      worker_urls: {},
      r2_bucket: 'globex-images',
      authorized_users: [expect.any(String)],
      source: 'service',
      project_id: null,
    });
    expect((await system.work(userKey)).body.source).toBe('cache');
  });

  test("a project's key works for its instance without naming anything", async () => {
    const { projectKey } = await setUpCustomer();
    expect((await system.work(projectKey)).body).toMatchObject({
      instance_id: 'globex-main',
      project_id: 'posters',
    });
  });

  test('the seeded instances can be used by whom the seed data lets', async () => {
    const made = await system.manage(adminKey, 'POST', `/user/${SEED.developerId}/key`);
    const key = String(made.body.key);
    const work = async (headers: Record<string, string>) =>
      (await system.work(key, headers)).status;
    expect(await work({ 'X-Instance-ID': 'development' })).toBe(200);
    expect(await work({ 'X-Test-Project': 'playground' })).toBe(200);
    expect(await work({ 'X-Instance-ID': 'production' })).toBe(403);
    expect(await work({ 'X-Test-Project': 'content-forge' })).toBe(403);
    expect(await work({ 'X-Instance-ID': 'none' })).toBe(404);
  });
});

describe('what one component changes, the others see', () => {
  test('a new provider key and a new limit count from the next request on', async () => {
    const { userKey } = await setUpCustomer();
    await system.work(userKey);
    await system.manage(adminKey, 'PATCH', '/instance/globex-main', {
      config: {
        api_keys: { ideogram: 'rotated-provider-key' },
        rate_limits: { ideogram: { rpm: 1 } },
      },
    });
    expect((await system.work(userKey)).body).toMatchObject({
      api_keys: { ideogram: 'rotated-provider-key' },
      rate_limits: { ideogram: { rpm: 1 } },
      source: 'service',
    });
  });

  test('access that is taken back counts at once, whatever is cached', async () => {
    const { userId, userKey } = await setUpCustomer();
    const named = { 'X-Instance-ID': 'globex-main' };
    expect((await system.work(userKey, named)).status).toBe(200);
    await system.manage(adminKey, 'DELETE', `/instance/globex-main/access/${userId}`);
    expect((await system.work(userKey, named)).status).toBe(403);
  });

  test('a revoked key is refused by the Worker and by the Config Service', async () => {
    const { userKey } = await setUpCustomer();
    const { body } = await system.manage(userKey, 'GET', '/me');
    await system.manage(adminKey, 'DELETE', `/key/${body.key_id}`);
    expect((await system.work(userKey)).status).toBe(401);
    expect((await system.manage(userKey, 'GET', '/me')).status).toBe(401);
  });

  test('deleting the instance ends its use and keeps what it cost', async () => {
    const { userId, userKey, projectKey } = await setUpCustomer();
    await system.work(userKey);
    await insertUsageLog(env.DB, {
      log_id: 'use-1',
      org_id: 'globex',
      instance_id: 'globex-main',
      project_id: 'posters',
      user_id: userId,
      request_id: 'r',
      timestamp: START.toISOString(),
      provider: 'ideogram',
      model: null,
      tokens_used: 0,
      cost: 80_000,
      created_at: START.toISOString(),
    });
    const range = { from: '2026', to: '2027' };
    expect(await summarizeInstanceUsage(env.DB, 'globex-main', range)).toMatchObject({
      cost: 80_000,
    });
    await system.manage(adminKey, 'DELETE', '/instance/globex-main');
    expect((await system.work(userKey, { 'X-Instance-ID': 'globex-main' })).status).toBe(404);
    expect((await system.work(projectKey)).status).toBe(401);
    expect(await env.DB.prepare('SELECT org_id, cost FROM usage_logs').first()).toEqual({
      org_id: 'globex',
      cost: 80_000,
    });
    const removed = await system.manage(adminKey, 'DELETE', '/organization/globex');
    expect(removed.status).toBe(409);
  });
});

describe('while the Config Service is down', () => {
  test('known instances go on working for a day, unknown ones do not', async () => {
    const { userKey } = await setUpCustomer();
    await system.work(userKey);
    system.serviceIsUp.value = false;
    system.clock.now = new Date(START.getTime() + FIVE_MINUTES_MS);
    expect((await system.work(userKey)).body).toMatchObject({
      instance_id: 'globex-main',
      api_keys: { ideogram: PROVIDER_KEY },
      source: 'stale',
    });
    const unknown = await system.work(adminKey, { 'X-Instance-ID': 'production' });
    expect([unknown.status, unknown.body.code]).toEqual([503, 'CONFIG_UNAVAILABLE']);
    system.serviceIsUp.value = true;
    expect((await system.work(userKey)).body.source).toBe('service');
  });
});

describe('secrets', () => {
  test('none is stored, cached or printed in clear', async () => {
    const { userKey, projectKey } = await setUpCustomer();
    await system.work(userKey);
    await system.work('mas_not-a-key');
    system.serviceIsUp.value = false;
    system.clock.now = new Date(START.getTime() + FIVE_MINUTES_MS);
    await system.work(userKey);

    const stored: unknown[] = [];
    for (const table of [
      'organizations',
      'instances',
      'users',
      'projects',
      'api_keys',
      'usage_logs',
    ]) {
      stored.push((await env.DB.prepare(`SELECT * FROM ${table}`).all()).results);
    }
    const { keys } = await env.CONFIG_CACHE.list();
    expect(keys).toHaveLength(1);
    for (const { name } of keys) {
      stored.push(name, await env.CONFIG_CACHE.get(name));
    }
    const masked = await system.manage(adminKey, 'GET', '/instance/globex-main');
    const everything = JSON.stringify([stored, system.lines, masked.body]);
    expect(system.lines).not.toEqual([]);
    for (const secret of [PROVIDER_KEY, SERVICE_TOKEN, adminKey, userKey, projectKey]) {
      expect(everything).not.toContain(secret);
    }
  });
});

describe('identity', () => {
  test('the middleware and the Config Service tell the same about a key', async () => {
    const { userKey, projectKey } = await setUpCustomer();
    for (const key of [adminKey, userKey, projectKey]) {
      const { body } = await system.manage(key, 'GET', '/me');
      const result = await authMiddleware(
        new Request('https://example.com/', { headers: { Authorization: `Bearer ${key}` } }),
        env,
      );
      expect(result.authorized).toBe(true);
      if (result.authorized) {
        const { request_id: _, ...me } = body;
        expect({
          ...result.user,
          instances: result.instances,
          permissions: result.permissions,
          key_id: result.auth.keyId,
        }).toEqual(me);
      }
    }
  });
});
