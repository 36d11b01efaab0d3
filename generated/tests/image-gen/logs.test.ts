// What POST /generate leaves in the log: one entry for each answer, and never a secret, a prompt or a provider's link.
import { runDurableObjectAlarm } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { MOCK_API_KEY } from '@/tests/provider-adapters/mock-ideogram';
import type { IdentifiedLogEntry } from '@/workers/shared/logging/types';
import {
  CACHE_KEY,
  elapse,
  generateRequest,
  PROMPT,
  SERVICE_TOKEN,
  START,
  startSystem,
  type TestSystem,
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

async function entries() {
  return (await system.logs()).filter(({ message }) => message === 'request completed');
}

describe('the entry of a request', () => {
  test('that succeeded says all that the contract asks for', async () => {
    const { body } = await system.generate();
    const durationMs = Date.now() - START;
    expect(await entries()).toEqual([
      {
        log_id: expect.any(String),
        timestamp: new Date(Date.now()).toISOString(),
        level: 'INFO',
        message: 'request completed',
        request_id: body.request_id,
        instance_id: system.instanceId,
        user_id: system.userId,
        component: 'image-gen-worker',
        metadata: {
          event: 'request',
          route: '/generate',
          method: 'POST',
          status: 200,
          duration_ms: durationMs,
          provider: 'ideogram',
          model: 'ideogram-4-5',
          provider_attempts: 1,
          config_source: 'fetched',
        },
      },
    ]);
  });

  test('that was refused says as much as is known by then', async () => {
    await system.generate({ prompt: '' });
    await system.generate({}, { key: null });
    await system.generate({}, { key: system.keys.stranger });
    await system.generate({}, { headers: { 'X-Instance-ID': 'production' } });
    const [invalid, anonymous, forbidden, contradicted] = await entries();
    expect(invalid).toMatchObject({ level: 'WARN' });
    expect(invalid?.metadata).toEqual({
      event: 'request',
      route: '/generate',
      method: 'POST',
      status: 400,
      duration_ms: 0,
      code: 'VALIDATION_FAILED',
    });
    expect(anonymous?.metadata).toMatchObject({ code: 'AUTH_FAILED', provider: 'ideogram' });
    expect(anonymous).not.toHaveProperty('user_id');
    // The body was valid, and is known from then on.
    expect(contradicted?.metadata).toMatchObject({ status: 400, provider: 'ideogram' });
    expect(forbidden).toMatchObject({
      user_id: 'stranger',
      instance_id: system.instanceId,
      metadata: { code: 'FORBIDDEN' },
    });
  });

  test('that was refused names the instance that was found, however it was, and its source', async () => {
    const { instanceId, projectId, keys } = system;
    const key = await system.newKey({ project_id: projectId });
    const named = [
      [{ project_id: projectId, instance_id: undefined }, { key: keys.stranger }],
      [
        { instance_id: undefined },
        { key: keys.stranger, headers: { 'X-Instance-ID': instanceId } },
      ],
      [{ project_id: `${projectId}-of-others` }, { key }],
    ] as const;
    await env.DB.prepare(
      `INSERT INTO projects (project_id, instance_id, name, created_at, updated_at)
       SELECT project_id || '-of-others', instance_id, 'Flyers', created_at, updated_at
       FROM projects WHERE project_id = ?`,
    )
      .bind(projectId)
      .run();
    for (const [body, options] of named) {
      expect((await system.generate(body, options)).status).toBe(403);
    }
    const found = await entries();
    expect(found).toHaveLength(named.length);
    for (const [index, entry] of found.entries()) {
      expect(entry).toMatchObject({
        instance_id: instanceId,
        metadata: { status: 403, config_source: index === 0 ? 'fetched' : 'fresh' },
      });
    }
  });

  test.each([
    [429, 'WARN', 'RATE_LIMITED', 3],
    [422, 'WARN', 'PROVIDER_REJECTED', 1],
    [500, 'ERROR', 'PROVIDER_ERROR', 3],
  ])('whose provider answered %i has the level %s', async (status, level, code, attempts) => {
    system.mock.always('submit', { kind: 'status', status });
    const { body } = await system.generate();
    const [entry, ...others] = await entries();
    expect(others).toEqual([]);
    expect(entry).toMatchObject({ level, request_id: body.request_id });
    expect(entry?.metadata).toMatchObject({ code, provider_attempts: attempts });
  });

  test('that timed out, was answered before, or came to an open circuit', async () => {
    const request_id = crypto.randomUUID();
    await system.generate({ request_id });
    await system.generate({ request_id });
    system.mock.next('submit', { kind: 'pending', polls: 'endless' });
    await system.generate();
    system.mock.always('submit', { kind: 'status', status: 500 });
    await system.generate();
    await system.generate();
    await system.generate();
    const metadata = (await entries()).map((entry) => entry.metadata);
    expect(metadata[1]).toMatchObject({ status: 200, replayed: true });
    expect(metadata[1]).not.toHaveProperty('provider_attempts');
    expect(metadata[2]).toMatchObject({ status: 504, code: 'PROVIDER_TIMEOUT' });
    expect(metadata[5]).toMatchObject({ status: 502, provider_attempts: 0 });
  });

  test('is on its way before the answer leaves, and reaches D1 after ten seconds', async () => {
    const handedOver: string[] = [];
    const { LOG_BUFFER } = system.env;
    const watched = {
      idFromName: (name: string) => LOG_BUFFER.idFromName(name),
      get: (id: DurableObjectId) => ({
        append: (entries: IdentifiedLogEntry[]) => {
          handedOver.push(...entries.map(({ message }) => message));
          return LOG_BUFFER.get(id).append(entries);
        },
      }),
    };
    system.env = { ...system.env, LOG_BUFFER: watched as unknown as typeof LOG_BUFFER };
    const { response, settled } = system.begin(
      new Request('https://image-gen.example.com/generate', { method: 'POST' }),
    );
    await response;
    expect(handedOver).toEqual(['request completed']);
    await settled();

    await system.generate();
    elapse(10_000);
    const buffer = env.LOG_BUFFER.idFromName(`instance:${system.instanceId}`);
    await runDurableObjectAlarm(env.LOG_BUFFER.get(buffer));
    const { results } = await env.DB.prepare(
      `SELECT json_extract(metadata, '$.status') AS status FROM logs WHERE instance_id = ?`,
    )
      .bind(system.instanceId)
      .all();
    expect(results).toEqual([{ status: 200 }]);
  });

  test('that cannot be handed over changes no answer', async () => {
    const LOG_BUFFER = {
      idFromName: () => ({}),
      get: () => ({ append: () => Promise.reject(new Error('gone')) }),
    } as unknown as typeof system.env.LOG_BUFFER;
    system.env = { ...system.env, LOG_BUFFER };
    const lines = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    expect((await system.generate()).status).toBe(200);
    expect(lines.mock.calls.flat().join('\n')).toContain('request completed');
    lines.mockRestore();
  });
});

describe('a log that hangs', () => {
  test('does not hold up the answer, not even for a moment', async () => {
    const append = () => new Promise(() => undefined);
    const LOG_BUFFER = { idFromName: () => ({}), get: () => ({ append }) };
    system.env = {
      ...system.env,
      LOG_BUFFER: LOG_BUFFER as unknown as typeof system.env.LOG_BUFFER,
    };
    // The time of no wait ever ends here: with any, there would be no answer.
    const { response } = system.begin(generateRequest({ prompt: '' }));
    expect((await response).status).toBe(400);
  });
});

describe('a fault', () => {
  test('of ours is explained beside the entry, under the same request', async () => {
    const IMAGES = { put: () => Promise.reject(new Error('R2 is out of order')) };
    system.env = { ...system.env, IMAGES: IMAGES as unknown as R2Bucket };
    const { body } = await system.generate();
    const [fault, entry] = await system.logs();
    expect(entry?.metadata).toMatchObject({ status: 500, code: 'INTERNAL_ERROR' });
    expect(fault).toMatchObject({
      level: 'ERROR',
      request_id: body.request_id,
      instance_id: system.instanceId,
    });
    expect(JSON.stringify(fault?.metadata)).toContain('R2 is out of order');
  });

  test('that was covered is told as a warning', async () => {
    await system.generate();
    system.configService.isUp = false;
    elapse(6 * 60 * 1000);
    await system.generate();
    const covered = (await system.logs()).filter(
      ({ message }) => message === 'a fault was covered',
    );
    expect(covered).toMatchObject([{ level: 'WARN' }]);
    expect(JSON.stringify(covered)).toContain('connection refused');
  });
});

describe('secrets', () => {
  test('are neither stored nor answered, nor is a prompt logged', async () => {
    const answers = [
      await system.generate({ request_id: crypto.randomUUID() }),
      await system.generate({ api_key: system.keys.user }, { key: null }),
      await system.generate({ prompt: `${PROMPT} ${system.keys.user}`, extra: MOCK_API_KEY }),
      await system.generate({ model: MOCK_API_KEY, api_key: SERVICE_TOKEN }),
      await system.generate({}, { key: `${system.keys.user}x` }),
    ];
    system.mock.next('submit', { kind: 'status', status: 500, body: { error: MOCK_API_KEY } }, 3);
    answers.push(await system.generate());
    system.mock.next('image', { kind: 'drop-body' }, 3);
    answers.push(await system.generate());
    system.mock.next('submit', { kind: 'pending', polls: 'endless' });
    answers.push(await system.generate());
    answers.push(await system.get(String(answers.at(-1)?.body.status_url)));

    const logged = JSON.stringify(await system.logs());
    const answered = JSON.stringify(answers.map(({ body, headers }) => [body, [...headers]]));
    const tables = ['usage_logs', 'logs', 'api_keys', 'instances'];
    const rows = await Promise.all(
      tables.map(async (table) => (await env.DB.prepare(`SELECT * FROM ${table}`).all()).results),
    );
    const { keys } = await env.CONFIG_CACHE.list();
    const cached = await Promise.all(keys.map(({ name }) => env.CONFIG_CACHE.get(name)));
    const objects = (await env.IMAGES.list({ include: ['customMetadata'] })).objects.map(
      ({ key, customMetadata }) => [key, customMetadata],
    );
    const stored = JSON.stringify([rows, cached, objects]);
    for (const secret of [MOCK_API_KEY, SERVICE_TOKEN, CACHE_KEY, ...Object.values(system.keys)]) {
      expect(logged).not.toContain(secret);
      expect(answered).not.toContain(secret);
      expect(stored).not.toContain(secret);
    }
    for (const text of ['planted-prompt', 'lighthouse', 'ideogram.ai', 'ephemeral']) {
      expect(logged).not.toContain(text);
      expect(answered).not.toContain(text);
    }
    expect(JSON.parse(logged).length).toBeGreaterThan(answers.length);
  });
});
