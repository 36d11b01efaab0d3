// Keys from their making to their revocation, and the first key of a new system.
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { firstKeyStatement } from '@/infrastructure/auth/bootstrap';
import {
  createKeyManager,
  generateApiKey,
  hashApiKey,
  validateKeyFormat,
  verifyApiKey,
} from '@/infrastructure/auth/key-manager';
import { authMiddleware } from '@/infrastructure/auth/middleware';
import { freshDatabase, runScript, SEED } from '@/tests/database/support';

const START = new Date('2026-03-01T10:00:00.000Z');

beforeEach(async () => {
  await freshDatabase();
});

function withKey(key: string): Request {
  return new Request('https://example.com/', { headers: { Authorization: `Bearer ${key}` } });
}

describe('making and checking', () => {
  test('a generated key has a valid form and verifies against its own hash only', async () => {
    const { key, hash, prefix } = await generateApiKey();
    const other = await generateApiKey();
    expect(validateKeyFormat(key)).toBe(true);
    expect(key.startsWith(prefix)).toBe(true);
    expect(hash).toBe(await hashApiKey(key));
    expect(await verifyApiKey(key, hash)).toBe(true);
    expect(await verifyApiKey(key, other.hash)).toBe(false);
    expect(await verifyApiKey(other.key, hash)).toBe(false);
  });

  test('what has no valid form verifies against nothing, not even its own hash', async () => {
    expect(await verifyApiKey('secret', await hashApiKey('secret'))).toBe(false);
  });

  test('the hash does not hold the key and is the same each time', async () => {
    const { key, hash } = await generateApiKey();
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(hash).not.toContain(key.slice(4, 12));
    expect(await hashApiKey(key)).toBe(hash);
  });
});

describe('the key manager', () => {
  const manager = createKeyManager({ database: env.DB, now: () => START, newId: () => 'key-1' });

  test('issues a key with all that was said about it', async () => {
    const { key, record } = await manager.issue(
      { user_id: SEED.developerId },
      { name: 'ci', createdBy: SEED.adminId, expiresAt: new Date('2027-01-01T00:00:00.000Z') },
    );
    expect(record).toEqual({
      key_id: 'key-1',
      user_id: SEED.developerId,
      project_id: null,
      name: 'ci',
      key_prefix: key.slice(0, 12),
      created_by: SEED.adminId,
      created_at: START.toISOString(),
      last_used_at: null,
      expires_at: '2027-01-01T00:00:00.000Z',
      revoked_at: null,
    });
    const stored = await env.DB.prepare('SELECT * FROM api_keys').first();
    expect(JSON.stringify(stored)).not.toContain(key);
    expect(stored).toMatchObject({ key_hash: await hashApiKey(key) });
  });

  test('issues keys for existing owners only', async () => {
    await expect(manager.issue({ user_id: 'none' })).rejects.toThrow('FOREIGN KEY');
    await expect(manager.issue({ project_id: 'none' })).rejects.toThrow('FOREIGN KEY');
  });

  test('issues no key that has expired already', async () => {
    await expect(manager.issue({ project_id: 'playground' }, { expiresAt: START })).rejects.toThrow(
      RangeError,
    );
  });

  test('revokes once; an unknown key is null', async () => {
    await manager.issue({ project_id: 'playground' });
    expect(await manager.revoke('key-1')).toMatchObject({ revoked_at: START.toISOString() });
    expect(await manager.revoke('none')).toBeNull();
  });

  test('has a clock and ids of its own if none are given', async () => {
    const { record } = await createKeyManager({ database: env.DB }).issue({
      project_id: 'playground',
    });
    expect(record.key_id).toMatch(/^[0-9a-f-]{36}$/);
    expect(Math.abs(Date.now() - Date.parse(record.created_at))).toBeLessThan(60_000);
  });
});

describe('the first key', () => {
  test('works after its statement was run, and the statement does not hold it', async () => {
    const generated = await generateApiKey();
    const statement = firstKeyStatement({
      keyId: 'first',
      userId: SEED.adminId,
      createdAt: START,
      generated,
    });
    expect(statement).not.toContain(generated.key);
    await runScript(statement);
    const result = await authMiddleware(withKey(generated.key), env);
    expect(result).toMatchObject({ authorized: true, user: { role: 'superadmin' } });
  });

  test('is refused for an id that would be more than an id in SQL', async () => {
    const generated = await generateApiKey();
    for (const userId of ["x', 'y", '', 'A', "a'--"]) {
      expect(() =>
        firstKeyStatement({ keyId: 'first', userId, createdAt: START, generated }),
      ).toThrow(RangeError);
    }
  });
});
