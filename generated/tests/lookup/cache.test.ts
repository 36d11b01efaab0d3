// The cache on a real KV namespace: what it keeps, for how long, and what it makes of what it cannot read.
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { instanceConfigCacheKey } from '@/infrastructure/config-service/cache-entries';
import {
  type ConfigCache,
  createConfigCache,
  FRESH_FOR_MS,
  KEPT_FOR_SECONDS,
} from '@/infrastructure/lookup/cache';
import type { InstanceConfig } from '@/infrastructure/lookup/types';

const SECRET = 'AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=';
const OTHER_SECRET = 'AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=';
const START_MS = Date.parse('2026-03-01T10:00:00.000Z');

const CONFIG: InstanceConfig = {
  instance_id: 'production',
  org_id: 'example-org',
  name: 'Production',
  api_keys: { ideogram: 'planted-provider-secret' },
  rate_limits: { ideogram: { rpm: 500, tpm: 1000 } },
  worker_urls: { image_gen: 'https://image-gen.example.com' },
  r2_bucket: 'production-images',
  authorized_users: ['u'],
};

let now: Date;
let reports: unknown[];

function cacheWith(overrides: { kv?: KVNamespace; secret?: string } = {}): Promise<ConfigCache> {
  return createConfigCache({
    kv: env.CONFIG_CACHE,
    secret: SECRET,
    now: () => now,
    report: (error) => reports.push(error),
    ...overrides,
  });
}

beforeEach(async () => {
  now = new Date(START_MS);
  reports = [];
  const { keys } = await env.CONFIG_CACHE.list();
  await Promise.all(keys.map(({ name }) => env.CONFIG_CACHE.delete(name)));
});

describe('reading', () => {
  test('what was never written is null', async () => {
    const cache = await cacheWith();
    expect(await cache.read('production')).toBeNull();
    expect(reports).toEqual([]);
  });

  test.each([
    [0, true],
    [FRESH_FOR_MS - 1, true],
    [FRESH_FOR_MS, false],
    [23 * 60 * 60 * 1000, false],
    [-1, false],
  ])('after %i ms it comes back, fresh: %s', async (elapsed_ms, fresh) => {
    const cache = await cacheWith();
    await cache.write(CONFIG);
    now = new Date(START_MS + elapsed_ms);
    expect(await cache.read('production')).toEqual({ config: CONFIG, fresh });
  });

  test('five minutes are fresh', () => {
    expect(FRESH_FOR_MS).toBe(300_000);
  });

  test('writing again starts anew', async () => {
    const cache = await cacheWith();
    await cache.write(CONFIG);
    now = new Date(START_MS + FRESH_FOR_MS);
    await cache.write({ ...CONFIG, name: 'Renamed' });
    expect(await cache.read('production')).toMatchObject({
      config: { name: 'Renamed' },
      fresh: true,
    });
  });

  test('after an invalidation there is nothing', async () => {
    const cache = await cacheWith();
    await cache.write(CONFIG);
    await cache.write({ ...CONFIG, instance_id: 'development' });
    await cache.invalidate('production');
    expect(await cache.read('production')).toBeNull();
    expect(await cache.read('development')).not.toBeNull();
  });
});

describe('entries', () => {
  test('are kept for a day under the name that the Config Service removes', async () => {
    await (await cacheWith()).write(CONFIG);
    const { keys } = await env.CONFIG_CACHE.list();
    expect(keys.map(({ name }) => name)).toEqual([instanceConfigCacheKey('production')]);
    const expiresInSeconds = (keys[0]?.expiration ?? 0) - Date.now() / 1000;
    expect(Math.abs(expiresInSeconds - KEPT_FOR_SECONDS)).toBeLessThan(60);
  });

  test('hold nothing in clear, and look different each time', async () => {
    const cache = await cacheWith();
    await cache.write(CONFIG);
    const first = await env.CONFIG_CACHE.get(instanceConfigCacheKey('production'));
    await cache.write(CONFIG);
    const second = await env.CONFIG_CACHE.get(instanceConfigCacheKey('production'));
    expect(first).not.toBe(second);
    for (const word of ['planted-provider-secret', 'ideogram', 'production']) {
      expect(first).not.toContain(word);
    }
  });

  test.each([
    ['one that was put under another name', 'moved'],
    ['one that is no ciphertext', 'plain'],
    ['one that is cut short', 'short'],
  ])('%s counts as absent, and is reported', async (_, kind) => {
    const cache = await cacheWith();
    await cache.write(CONFIG);
    const name = instanceConfigCacheKey('development');
    const sealed = await env.CONFIG_CACHE.get(instanceConfigCacheKey('production'), 'arrayBuffer');
    const values: Record<string, ArrayBuffer | string> = {
      moved: sealed ?? '',
      plain: JSON.stringify({ stored_at_ms: START_MS, config: CONFIG }),
      short: 'x',
    };
    await env.CONFIG_CACHE.put(name, values[kind] ?? '');
    expect(await cache.read('development')).toBeNull();
    expect(reports).toHaveLength(1);
  });

  test('of another secret count as absent', async () => {
    await (await cacheWith()).write(CONFIG);
    const other = await cacheWith({ secret: OTHER_SECRET });
    expect(await other.read('production')).toBeNull();
    expect(await (await cacheWith()).read('production')).not.toBeNull();
  });
});

describe('faults', () => {
  test('a KV that fails is reported and never thrown', async () => {
    const down = () => Promise.reject(new Error('KV is down'));
    const kv = { get: down, put: down, delete: down } as unknown as KVNamespace;
    const cache = await cacheWith({ kv });
    expect(await cache.read('production')).toBeNull();
    await cache.write(CONFIG);
    await cache.invalidate('production');
    expect(reports).toHaveLength(3);
  });

  test.each(['', 'short', 'not base64 at all, but long enough to pass.='])(
    'the secret %j is refused: nothing is cached in clear',
    async (secret) => {
      await expect(cacheWith({ secret })).rejects.toThrow(
        /^the secret CACHE_ENCRYPTION_KEY is missing or malformed$/,
      );
    },
  );
});
