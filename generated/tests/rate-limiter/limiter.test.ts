// The Durable Object through its client, on the real runtime: many at once, restarts, alarms. The clock is moved, not
// waited for; it stands in a year to come, so that no alarm goes off by itself.
import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  type Admission,
  type Limits,
  RateLimiterUnavailableError,
  rateLimitedResponse,
  requestAdmission,
  settleAdmission,
} from '@/workers/shared/rate-limiter/client';
import type { RateLimiter } from '@/workers/shared/rate-limiter/limiter';

const START = Date.parse('2035-03-01T10:00:00.000Z');
const bindings = { RATE_LIMITER: env.RATE_LIMITER as DurableObjectNamespace<RateLimiter> };

/** A new instance for each test, so that none finds the window of another. */
let instanceId: string;

function stubOf(provider: string): DurableObjectStub<RateLimiter> {
  const name = `instance:${instanceId}:provider:${provider}`;
  return bindings.RATE_LIMITER.get(bindings.RATE_LIMITER.idFromName(name));
}

function ask(
  limits: Limits | undefined,
  { provider = 'ideogram', tokens }: { provider?: string; tokens?: number } = {},
): Promise<Admission> {
  return requestAdmission(bindings, {
    instanceId,
    provider,
    limits,
    ...(tokens === undefined ? {} : { tokens }),
  });
}

async function admittedOf(count: number, limits: Limits, provider?: string): Promise<number> {
  const options = provider === undefined ? {} : { provider };
  const admissions = await Promise.all(Array.from({ length: count }, () => ask(limits, options)));
  return admissions.filter(({ allowed }) => allowed).length;
}

function elapse(seconds: number): void {
  vi.setSystemTime(START + seconds * 1000);
}

/** Ends the object as a deployment or a crash does: what it has in memory is gone. */
async function restart(provider = 'ideogram'): Promise<void> {
  await runInDurableObject(stubOf(provider), (_, state) => state.abort('restart')).catch(
    () => undefined,
  );
}

function rowsOf(provider = 'ideogram'): Promise<number> {
  return runInDurableObject(stubOf(provider), (_, { storage }) => {
    const tables = storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'admissions'");
    return tables.toArray().length === 0
      ? 0
      : Number(storage.sql.exec('SELECT count(*) AS count FROM admissions').one().count);
  });
}

beforeEach(() => {
  instanceId = `limiter-${crypto.randomUUID()}`;
  vi.useFakeTimers({ toFake: ['Date'] });
  elapse(0);
});

afterEach(() => {
  vi.useRealTimers();
});

describe('under load', () => {
  test('50 concurrent requests against a limit of 10 admit exactly 10', async () => {
    expect(await admittedOf(50, { rpm: 10 })).toBe(10);
    elapse(59);
    expect(await admittedOf(50, { rpm: 10 })).toBe(0);
    elapse(61);
    expect(await admittedOf(50, { rpm: 10 })).toBe(10);
  });

  test('concurrent requests with tokens never pass the limit together', async () => {
    const admissions = await Promise.all(
      Array.from({ length: 50 }, () => ask({ tpm: 100 }, { tokens: 30 })),
    );
    expect(admissions.filter(({ allowed }) => allowed)).toHaveLength(3);
  });

  test('one after the other, too, only the limit is admitted', async () => {
    let admitted = 0;
    for (let count = 0; count < 200; count += 1) {
      admitted += (await ask({ rpm: 120 })).allowed ? 1 : 0;
    }
    expect(admitted).toBe(120);
  });
});

describe('windows', () => {
  test('of two instances, and of two providers of one instance, do not touch each other', async () => {
    expect(await admittedOf(3, { rpm: 2 })).toBe(2);
    expect(await admittedOf(3, { rpm: 2 }, 'other')).toBe(2);
    instanceId = `${instanceId}-2`;
    expect(await admittedOf(3, { rpm: 2 })).toBe(2);
  });

  test('follow the limits of the moment', async () => {
    expect(await admittedOf(5, { rpm: 4 })).toBe(4);
    elapse(10);
    expect(await ask({ rpm: 5 })).toMatchObject({ allowed: true });
    expect(await ask({ rpm: 2 })).toEqual({
      allowed: false,
      retryAfterSeconds: 50,
      reason: 'requests',
    });
    expect(await ask(undefined)).toMatchObject({ allowed: true });
  });

  test('are settled by the id of the admission, not by the next to come', async () => {
    const first = await ask({ tpm: 100 }, { tokens: 40 });
    const second = await ask({ tpm: 100 }, { tokens: 40 });
    expect([first.allowed, second.allowed]).toEqual([true, true]);
    expect(await ask({ tpm: 100 }, { tokens: 40 })).toMatchObject({ allowed: false });
    if (second.allowed) {
      const { admissionId } = second;
      await settleAdmission(bindings, {
        instanceId,
        provider: 'ideogram',
        admissionId,
        tokensUsed: 5,
      });
    }
    expect(await ask({ tpm: 100 }, { tokens: 55 })).toMatchObject({ allowed: true });
    expect(await rowsOf()).toBe(3);
  });
});

describe('a restart', () => {
  test('in the middle of the window forgets nothing', async () => {
    expect(await admittedOf(7, { rpm: 10 })).toBe(7);
    elapse(30);
    await restart();
    expect(await admittedOf(50, { rpm: 10 })).toBe(3);
    await restart();
    elapse(59);
    expect(await ask({ rpm: 10 })).toMatchObject({ allowed: false, retryAfterSeconds: 1 });
    elapse(61);
    expect(await admittedOf(50, { rpm: 10 })).toBe(7);
  });

  test('keeps what was settled', async () => {
    const admission = await ask({ tpm: 100 }, { tokens: 90 });
    const admissionId = admission.allowed ? admission.admissionId : 0;
    const settled = { instanceId, provider: 'ideogram', admissionId, tokensUsed: 10 };
    await settleAdmission(bindings, settled);
    await restart();
    expect(await ask({ tpm: 100 }, { tokens: 91 })).toMatchObject({ allowed: false });
    expect(await ask({ tpm: 100 }, { tokens: 90 })).toMatchObject({ allowed: true });
  });

  test('really ends the object, and begins a new one', async () => {
    await ask({});
    const memoryOf = () => runInDurableObject(stubOf('ideogram'), (instance) => instance);
    const before = await memoryOf();
    expect(await memoryOf()).toBe(before);
    await restart();
    expect(await memoryOf()).not.toBe(before);
  });
});

describe('storage', () => {
  test('holds the window and nothing older', async () => {
    for (let second = 0; second < 300; second += 5) {
      elapse(second);
      await ask({ rpm: 1000 });
    }
    expect(await rowsOf()).toBe(12);
    await ask({ rpm: 1 });
    expect(await rowsOf()).toBe(12);
  });

  test('is emptied by the alarm once nobody has come for a window, and can be used again', async () => {
    await admittedOf(5, { rpm: 10 });
    const alarmOf = () =>
      runInDurableObject(stubOf('ideogram'), (_, { storage }) => storage.getAlarm());
    expect(await alarmOf()).toBe(START + 60_000);
    elapse(40);
    await ask({ rpm: 10 });
    elapse(60);
    expect(await runDurableObjectAlarm(stubOf('ideogram'))).toBe(true);
    expect(await rowsOf()).toBe(1);
    expect(await alarmOf()).toBe(START + 100_000);
    elapse(100);
    expect(await runDurableObjectAlarm(stubOf('ideogram'))).toBe(true);
    const left = await runInDurableObject(stubOf('ideogram'), async (_, { storage }) => [
      storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'admissions'").toArray(),
      await storage.getAlarm(),
    ]);
    expect(left).toEqual([[], null]);
    expect(await admittedOf(20, { rpm: 10 })).toBe(10);
    expect(await rowsOf()).toBe(10);
  });

  test('is not touched by a request that is refused', async () => {
    expect(await ask({ rpm: 0 })).toMatchObject({ allowed: false, reason: 'never' });
    const names = await runInDurableObject(stubOf('ideogram'), (_, { storage }) =>
      storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'admissions'").toArray(),
    );
    expect(names).toEqual([]);
  });
});

describe('the client', () => {
  const broken = {
    RATE_LIMITER: {
      idFromName: (name: string) => env.RATE_LIMITER.idFromName(name),
      get: () => ({
        checkLimit: () => Promise.reject(new Error('internal error')),
        recordRequest: () => Promise.reject(new Error('internal error')),
      }),
    } as unknown as DurableObjectNamespace<RateLimiter>,
  };

  test('tells a limiter that cannot be reached from one that refuses', async () => {
    const asked = requestAdmission(broken, {
      instanceId,
      provider: 'ideogram',
      limits: { rpm: 1 },
    });
    await expect(asked).rejects.toThrow(RateLimiterUnavailableError);
    const settled = { instanceId, provider: 'ideogram', admissionId: 1, tokensUsed: 1 };
    await expect(settleAdmission(broken, settled)).rejects.toThrow(RateLimiterUnavailableError);
  });

  test.each([{ rpm: -1 }, { rpm: 1.5 }, { tpm: Number.NaN }, { tpm: Number.POSITIVE_INFINITY }])(
    'does not guess what limits like %o may mean',
    async (limits) => {
      await expect(ask(limits)).rejects.toThrow(RangeError);
    },
  );

  test('answers a refused request as the contract says', async () => {
    const requestId = crypto.randomUUID();
    const response = rateLimitedResponse({ retryAfterSeconds: 17 }, requestId);
    expect(response.status).toBe(429);
    expect(response.headers.get('Retry-After')).toBe('17');
    expect(response.headers.get('X-Request-ID')).toBe(requestId);
    expect(response.headers.get('Content-Type')).toBe('application/json; charset=utf-8');
    expect(await response.json()).toEqual({
      error: expect.stringContaining('17 s'),
      code: 'RATE_LIMITED',
      request_id: requestId,
    });
  });
});
