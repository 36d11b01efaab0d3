// What all routes have in common, and the small ones.
import {
  createExecutionContext,
  createScheduledController,
  waitOnExecutionContext,
} from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import worker from '@/workers/image-gen/index';
import {
  answerOf,
  generateRequest,
  ORIGIN,
  PROMPT,
  START,
  startSystem,
  type TestSystem,
  UUID,
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

describe('GET /health', () => {
  test('says whether the database is there', async () => {
    const { status, body } = await system.get('/health', { key: null });
    expect(status).toBe(200);
    expect(body).toEqual({ status: 'ok', request_id: expect.stringMatching(UUID) });
    const prepare = () => {
      throw new Error('D1_ERROR: planted');
    };
    system.env = { ...system.env, DB: { prepare } as unknown as D1Database };
    const broken = await system.get('/health', { key: null });
    expect([broken.status, broken.body.code]).toEqual([500, 'INTERNAL_ERROR']);
    expect(JSON.stringify(broken.body)).not.toContain('planted');
  });

  test('as HEAD has no body', async () => {
    const response = await system.fetch(new Request(`${ORIGIN}/health`, { method: 'HEAD' }));
    expect([response.status, await response.text()]).toEqual([200, '']);
    expect(response.headers.get('X-Request-ID')).toMatch(UUID);
  });
});

describe('paths and methods', () => {
  test.each([
    ['GET', '/generate', 405, 'POST'],
    ['DELETE', '/jobs/some-job', 405, 'GET, HEAD'],
    ['POST', '/images/production/default/1_image.png', 405, 'GET, HEAD'],
    ['POST', '/images/production', 404, null],
    ['GET', '/images/production/default/1_image.png', 404, null],
    ['GET', '/', 404, null],
    ['GET', '/jobs/', 404, null],
    ['DELETE', '/jobs/No-Identifier', 405, 'GET, HEAD'],
  ])('%s %s is answered with %i', async (method, path, status, allow) => {
    const response = await system.fetch(new Request(ORIGIN + path, { method }));
    expect(response.status).toBe(status);
    expect(response.headers.get('Allow')).toBe(allow);
    expect((await answerOf(response)).body).toEqual({
      error: expect.any(String),
      code: status === 405 ? 'METHOD_NOT_ALLOWED' : 'NOT_FOUND',
      request_id: expect.stringMatching(UUID),
    });
  });
});

describe('a job whose id is none', () => {
  test.each(['/jobs/No-Identifier', `/jobs/${'a'.repeat(64)}`, '/jobs/%20'])(
    '%s asks for the key first, and is then unknown',
    async (path) => {
      const anonymous = await system.get(path, { key: null });
      expect([anonymous.status, anonymous.body.code]).toEqual([401, 'AUTH_FAILED']);
      const known = await system.get(path);
      expect([known.status, known.body.code]).toEqual([404, 'NOT_FOUND']);
    },
  );
});

describe('browsers', () => {
  const allowed = 'https://gui.example.com';

  beforeEach(() => {
    system.env = { ...system.env, ALLOWED_ORIGINS: allowed };
  });

  test('of a listed origin may call, after a preflight without a key', async () => {
    const preflight = await system.fetch(
      new Request(`${ORIGIN}/generate`, {
        method: 'OPTIONS',
        headers: { Origin: allowed, 'Access-Control-Request-Method': 'POST' },
      }),
    );
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('Access-Control-Allow-Origin')).toBe(allowed);
    const request = generateRequest(
      { prompt: PROMPT, instance_id: system.instanceId },
      { key: system.keys.user, headers: { Origin: allowed } },
    );
    const { headers } = await system.fetch(request);
    expect(headers.get('Access-Control-Allow-Origin')).toBe(allowed);
    expect(headers.get('Access-Control-Expose-Headers')).toBe('X-Request-ID, Retry-After');
    const refused = await system.generate({}, { key: null, headers: { Origin: allowed } });
    expect(refused.headers.get('Access-Control-Allow-Origin')).toBe(allowed);
  });

  test('of another origin get no leave', async () => {
    const headers = { Origin: 'https://evil.example.com' };
    const { headers: answered } = await system.generate({}, { headers });
    expect(answered.get('Access-Control-Allow-Origin')).toBeNull();
  });
});

describe('the schedule', () => {
  test('deletes the log entries that are older than 30 days, and no others', async () => {
    const DAY_MS = 24 * 60 * 60 * 1000;
    const insert = env.DB.prepare(
      `INSERT INTO logs (log_id, timestamp, level, message, request_id, component)
       VALUES (?, ?, 'INFO', 'planted', 'r', 'c')`,
    );
    await env.DB.batch(
      [29, 31].map((days) =>
        insert.bind(`day-${days}`, new Date(START - days * DAY_MS).toISOString()),
      ),
    );
    const lines = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    await worker.scheduled(
      createScheduledController({ scheduledTime: new Date(START) }),
      system.env,
    );
    expect(lines.mock.calls.flat().join('\n')).toContain('"deleted":1');
    lines.mockRestore();
    const { results } = await env.DB.prepare(
      "SELECT log_id FROM logs WHERE request_id = 'r'",
    ).all();
    expect(results).toEqual([{ log_id: 'day-29' }]);
  });

  test('belongs to the Worker that also answers', async () => {
    const ctx = createExecutionContext();
    const response = await worker.fetch(new Request(`${ORIGIN}/health`), system.env, ctx);
    await waitOnExecutionContext(ctx);
    expect(response.status).toBe(200);
  });
});
