// Breaker and retries together, over a Worker's whole handler: what a failing provider, and its callers, get to see.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { freshDatabase } from '@/tests/database/support';
import {
  ProviderError,
  ProviderRejectedError,
  RateLimitedError,
} from '@/workers/shared/error-handling/errors';
import { START_MS, startWorker, type TestWorker } from './support';

let count = 0;
let calls: number;
let provider: () => Promise<Response>;
let worker: TestWorker;

const failing = () => Promise.reject(new ProviderError('down', { retryable: true }));
const healthy = () => Promise.resolve(Response.json({ image: true }));

beforeEach(async () => {
  await freshDatabase();
  vi.useFakeTimers({ now: START_MS, toFake: ['Date'] });
  count += 1;
  calls = 0;
  provider = failing;
  worker = startWorker(`operations-${count}`, () => {
    calls += 1;
    return provider();
  });
});
afterEach(() => {
  vi.useRealTimers();
});

test('a provider that keeps failing opens its circuit; while it is open no call reaches it', async () => {
  expect(await worker.send()).toMatchObject({ status: 502, body: { code: 'PROVIDER_ERROR' } });
  expect(calls).toBe(3);
  // Two more failures make five; the third attempt is refused already.
  await worker.send();
  expect(calls).toBe(5);

  provider = healthy;
  for (const seconds of [0, 10, 29]) {
    vi.setSystemTime(START_MS + seconds * 1000);
    const { status, headers, body } = await worker.send();
    expect([status, body.code]).toEqual([502, 'PROVIDER_ERROR']);
    expect(headers.get('Retry-After')).toBe(String(30 - seconds));
  }
  expect(calls).toBe(5);
});

test('after the pause one trial call passes among many; its success closes the circuit', async () => {
  await worker.send();
  await worker.send();
  vi.setSystemTime(START_MS + 30_000);
  // The trial ends only when all the others have been refused.
  let endTrial: () => void = () => undefined;
  provider = () =>
    new Promise((resolve) => {
      endTrial = () => resolve(Response.json({ image: true }));
    });
  const statuses: number[] = [];
  const sent = Array.from({ length: 20 }, async () => {
    statuses.push((await worker.send()).status);
  });
  await vi.waitFor(() => expect(statuses).toHaveLength(19));
  endTrial();
  await Promise.all(sent);
  expect(statuses.toSorted()).toEqual([200, ...Array(19).fill(502)]);
  expect(calls).toBe(6);

  provider = healthy;
  expect(await worker.send()).toMatchObject({ status: 200, body: { image: true } });
});

test('a trial that fails leaves it open for another pause', async () => {
  await worker.send();
  await worker.send();
  vi.setSystemTime(START_MS + 30_000);
  // The trial is one call: its retries are refused like everybody else's.
  await worker.send();
  expect(calls).toBe(6);
  provider = healthy;
  vi.setSystemTime(START_MS + 59_000);
  expect((await worker.send()).status).toBe(502);
  vi.setSystemTime(START_MS + 60_000);
  expect((await worker.send()).status).toBe(200);
});

test('what a healthy provider refuses is neither retried nor counted', async () => {
  provider = () => Promise.reject(new ProviderRejectedError('this prompt is not allowed'));
  for (let index = 0; index < 6; index += 1) {
    expect((await worker.send()).status).toBe(422);
  }
  expect(calls).toBe(6);
  provider = healthy;
  expect((await worker.send()).status).toBe(200);
});

test('a provider that is busy is asked again, in the end told to the caller, and not held against it', async () => {
  provider = () =>
    Promise.reject(new RateLimitedError('busy', { retryable: true, retryAfterSeconds: 2 }));
  for (let index = 0; index < 3; index += 1) {
    const { status, headers } = await worker.send();
    expect([status, headers.get('Retry-After')]).toEqual([429, '2']);
  }
  expect(calls).toBe(9);
  provider = healthy;
  expect((await worker.send()).status).toBe(200);
});
