// The middleware on a real database: who gets in, as whom, and what is noted.
import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { createKeyManager, type KeyManager } from '@/infrastructure/auth/key-manager';
import { authMiddleware, forbiddenResponse, withAuth } from '@/infrastructure/auth/middleware';
import { getApiKeyById, updateUser } from '@/infrastructure/database/queries';
import { freshDatabase, SEED } from '@/tests/database/support';

const START = '2026-03-01T10:00:00.000Z';
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

let now: Date;
let manager: KeyManager;

beforeEach(async () => {
  await freshDatabase();
  now = new Date(START);
  manager = createKeyManager({ database: env.DB, now: () => now });
});

function requestWith(headers: Record<string, string>): Request {
  return new Request('https://image-gen.example.com/generate', { method: 'POST', headers });
}

function bearer(key: string): Request {
  return requestWith({ Authorization: `Bearer ${key}` });
}

const authenticate = (request: Request, bodyKey?: string) =>
  authMiddleware(request, env, { now: () => now, bodyKey });

/** The key of the seed's user. */
async function developerKey(): Promise<{ key: string; keyId: string }> {
  const { key, record } = await manager.issue({ user_id: SEED.developerId });
  return { key, keyId: record.key_id };
}

describe('a valid key', () => {
  test("of a user brings the user, the instances and the role's permissions", async () => {
    const { key, keyId } = await developerKey();
    const result = await authenticate(bearer(key));
    expect(result).toMatchObject({
      authorized: true,
      user: {
        user_id: SEED.developerId,
        email: 'developer@example.com',
        role: 'user',
        org_id: SEED.orgId,
        project_id: null,
      },
      instances: ['development'],
      permissions: ['image:generate', 'instance:read', 'key:write', 'project:read', 'user:read'],
      auth: { keyId },
    });
  });

  test('of a project brings the project and its instance, and no person', async () => {
    const { key } = await manager.issue({ project_id: 'content-forge' });
    expect(await authenticate(bearer(key))).toMatchObject({
      authorized: true,
      user: {
        user_id: null,
        email: null,
        role: 'user',
        org_id: SEED.orgId,
        project_id: 'content-forge',
      },
      instances: ['production'],
    });
  });

  test('brings what the database says now, not when the key was made', async () => {
    const { key } = await developerKey();
    await updateUser(env.DB, SEED.developerId, { role: 'admin', updated_at: START });
    expect(await authenticate(bearer(key))).toMatchObject({
      user: { role: 'admin' },
      instances: ['development', 'production'],
    });
  });

  test('never appears in the result', async () => {
    const { key } = await developerKey();
    expect(JSON.stringify(await authenticate(bearer(key)))).not.toContain(key);
  });
});

describe('an invalid key', () => {
  test.each([
    ['missing', {}],
    ['missing', { Authorization: 'Basic YTpi' }],
    ['missing', { Authorization: '' }],
    ['malformed', { Authorization: 'Bearer secret' }],
    ['unknown', { Authorization: `Bearer mas_${'0'.repeat(43)}1yhBtb` }],
  ])('that is %s (%j) is a 401 with a reason', async (reason, headers) => {
    const result = await authenticate(requestWith(headers));
    expect(result).toMatchObject({ authorized: false, status: 401, reason });
  });

  test('of a revoked key is refused at once', async () => {
    const { key, keyId } = await developerKey();
    expect(await authenticate(bearer(key))).toMatchObject({ authorized: true });
    await manager.revoke(keyId);
    expect(await authenticate(bearer(key))).toMatchObject({ reason: 'revoked' });
  });

  test('of an expired key is refused from that moment on', async () => {
    const expiresAt = new Date('2026-03-01T10:00:01.000Z');
    const { key } = await manager.issue({ user_id: SEED.developerId }, { expiresAt });
    expect(await authenticate(bearer(key))).toMatchObject({ authorized: true });
    now = expiresAt;
    expect(await authenticate(bearer(key))).toMatchObject({ reason: 'expired' });
  });

  test('is answered like every other error, without telling which of the reasons it was', async () => {
    const { key, keyId } = await developerKey();
    await manager.revoke(keyId);
    const bodies = [];
    for (const request of [bearer(key), bearer('secret')]) {
      const result = await authenticate(request);
      if (result.authorized) {
        throw new Error('it was let in');
      }
      const { response } = result;
      expect(response.status).toBe(401);
      expect(response.headers.get('WWW-Authenticate')).toBe('Bearer');
      expect(response.headers.get('Cache-Control')).toBe('no-store');
      const body = await response.json<{ error: string; code: string; request_id: string }>();
      expect(body).toEqual({
        error: expect.any(String),
        code: 'AUTH_FAILED',
        request_id: expect.stringMatching(UUID),
      });
      expect(response.headers.get('X-Request-ID')).toBe(body.request_id);
      bodies.push(body.error);
    }
    expect(bodies[0]).toBe(bodies[1]);
  });

  test('keeps the request id that the caller or the worker gave', async () => {
    const id = '1b4e28ba-2fa1-41d2-883f-0016d3cca427';
    const fromCaller = await authMiddleware(requestWith({ 'X-Request-ID': id }), env);
    const fromWorker = await authMiddleware(requestWith({}), env, { requestId: id });
    for (const result of [fromCaller, fromWorker]) {
      expect(result).toMatchObject({ authorized: false });
      expect(!result.authorized && result.response.headers.get('X-Request-ID')).toBe(id);
    }
  });
});

describe('a key in the body', () => {
  test('counts if there is no header', async () => {
    const { key } = await developerKey();
    expect(await authenticate(requestWith({}), key)).toMatchObject({ authorized: true });
    expect(await authenticate(requestWith({}), '')).toMatchObject({ reason: 'missing' });
  });

  test('does not rescue a wrong header', async () => {
    const { key } = await developerKey();
    expect(await authenticate(bearer('secret'), key)).toMatchObject({ reason: 'malformed' });
    const basic = requestWith({ Authorization: 'Basic YTpi' });
    expect(await authenticate(basic, key)).toMatchObject({ reason: 'missing' });
  });
});

describe('the database', () => {
  test('is asked once for a valid key, and not at all for a malformed one', async () => {
    const { key } = await developerKey();
    const statements: string[] = [];
    const counting = {
      prepare(sql: string) {
        statements.push(sql.trim().split(' ')[0] ?? '');
        return env.DB.prepare(sql);
      },
    } as unknown as D1Database;
    await authMiddleware(bearer('secret'), { DB: counting });
    expect(statements).toEqual([]);
    await authMiddleware(bearer(key), { DB: counting }, { now: () => now });
    expect(statements).toEqual(['SELECT', 'UPDATE']);
    await authMiddleware(bearer(key), { DB: counting }, { now: () => now });
    expect(statements).toEqual(['SELECT', 'UPDATE', 'SELECT']);
  });

  test('that fails rejects: it makes no key invalid', async () => {
    const { key } = await developerKey();
    const broken = {
      prepare() {
        throw new Error('D1 is down');
      },
    } as unknown as D1Database;
    await expect(authMiddleware(bearer(key), { DB: broken })).rejects.toThrow('D1 is down');
  });

  test('notes the last use before the result if nothing can wait for it', async () => {
    const { key, keyId } = await developerKey();
    await authenticate(bearer(key));
    expect(await getApiKeyById(env.DB, keyId)).toMatchObject({ last_used_at: START });
  });

  test('that cannot note the last use lets the caller in, and says so', async () => {
    const { key } = await developerKey();
    const readOnly = {
      prepare(sql: string) {
        if (sql.startsWith('UPDATE')) {
          throw new Error('read-only');
        }
        return env.DB.prepare(sql);
      },
    } as unknown as D1Database;
    const reports: unknown[] = [];
    const result = await authMiddleware(
      bearer(key),
      { DB: readOnly },
      { now: () => now, report: (error) => reports.push(error) },
    );
    expect(result.authorized).toBe(true);
    expect(reports).toEqual([new Error('read-only')]);
  });
});

describe('withAuth', () => {
  const handler = withAuth<Cloudflare.Env>(
    (_request, _env, ctx) => {
      ctx.passThroughOnException();
      ctx.waitUntil(Promise.resolve());
      return Response.json({ user: ctx.auth.user.user_id });
    },
    { now: () => now },
  );

  test('hands the caller to the handler as ctx.auth, and defers the note of the last use', async () => {
    const { key, keyId } = await developerKey();
    const ctx = createExecutionContext();
    const response = await handler(bearer(key), env, ctx);
    expect(await response.json()).toEqual({ user: SEED.developerId });
    await waitOnExecutionContext(ctx);
    expect(await getApiKeyById(env.DB, keyId)).toMatchObject({ last_used_at: START });
  });

  test('does not run the handler for anybody else', async () => {
    const response = await handler(requestWith({}), env, createExecutionContext());
    expect(response.status).toBe(401);
  });
});

describe('forbiddenResponse', () => {
  test('is the 403 of the specification', async () => {
    const response = forbiddenResponse('an-id', 'not yours');
    expect(response.status).toBe(403);
    expect(response.headers.has('WWW-Authenticate')).toBe(false);
    expect(await response.json()).toEqual({
      error: 'not yours',
      code: 'FORBIDDEN',
      request_id: 'an-id',
    });
  });
});
