// Errors and logs together: what a Worker throws is answered in the contract's form, and leaves one row with the same id,
// without secrets, which those who administer can read.
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { startService, UUID } from '@/tests/config-service/support';
import { ProviderError, ValidationError } from '@/workers/shared/error-handling/errors';
import { SERVICE_TOKEN, START_MS, startWorker } from './support';

const PLATFORM_KEY = 'mas_00000000000000000000000000000000000000000001yhBtb';

beforeEach(async () => {
  vi.useFakeTimers({ now: START_MS, toFake: ['Date'] });
  await startService();
  await env.DB.prepare('DELETE FROM logs').run();
});
afterEach(() => {
  vi.useRealTimers();
});

async function rows(): Promise<Record<string, string>[]> {
  return (await env.DB.prepare('SELECT * FROM logs').all<Record<string, string>>()).results;
}

/** The Worker answers, and ten seconds go by. */
async function answerAndLog(worker: ReturnType<typeof startWorker>, requestId?: string) {
  const answer = await worker.send(requestId);
  vi.setSystemTime(Date.now() + 10_000);
  await worker.writeLogs();
  return answer;
}

describe('an error', () => {
  test('is answered with its code and id, and stored once under this id', async () => {
    const worker = startWorker('production', () =>
      Promise.reject(new ValidationError('prompt: is missing')),
    );
    const { status, headers, body } = await answerAndLog(worker);
    expect(status).toBe(400);
    expect(body).toEqual({
      error: 'prompt: is missing',
      code: 'VALIDATION_FAILED',
      request_id: expect.stringMatching(UUID),
    });
    expect(headers.get('X-Request-ID')).toBe(body.request_id);

    const stored = await rows();
    expect(stored).toHaveLength(1);
    expect(stored[0]).toMatchObject({
      timestamp: '2099-03-01T10:00:00.000Z',
      level: 'WARN',
      message: 'prompt: is missing',
      request_id: body.request_id,
      instance_id: 'production',
      component: 'test-worker',
    });
    expect(JSON.parse(stored[0]?.metadata ?? '')).toMatchObject({
      code: 'VALIDATION_FAILED',
      status: 400,
      error: { name: 'ValidationError', stack: expect.stringContaining('errors-and-logs.test') },
    });
  });

  test('that nobody expected tells the caller nothing, and the log everything but secrets', async () => {
    const secrets = [PLATFORM_KEY, SERVICE_TOKEN, 'planted-bearer', 'planted-provider-key'];
    const worker = startWorker('production', () =>
      Promise.reject(
        new Error(`upstream said no to ${PLATFORM_KEY} and ${SERVICE_TOKEN}`, {
          cause: new ProviderError('Authorization: Bearer planted-bearer', {
            details: { headers: { 'Api-Key': 'planted-provider-key' }, provider_status: 500 },
          }),
        }),
      ),
    );
    const { status, body } = await answerAndLog(worker);
    expect(status).toBe(500);
    expect(body).toEqual({
      error: 'something went wrong on our side',
      code: 'INTERNAL_ERROR',
      request_id: expect.stringMatching(UUID),
    });
    const stored = JSON.stringify(await rows());
    expect(stored).toContain('upstream said no to [redacted]');
    expect(stored).toContain('provider_status');
    for (const secret of secrets) {
      expect(stored).not.toContain(secret);
    }
  });

  test('keeps the id that the caller sent, from the answer to the log', async () => {
    const requestId = '0b0f7a52-6a0e-4d0b-9a52-0d6f3c1f7a01';
    const worker = startWorker('production', () => Promise.reject(new ValidationError('m')));
    expect((await answerAndLog(worker, requestId)).body.request_id).toBe(requestId);
    expect((await rows()).map((row) => row.request_id)).toEqual([requestId]);
  });

  test('is found by its id through the Config Service, by the admin of its instance alone', async () => {
    const worker = startWorker('production', () => Promise.reject(new ProviderError('no funds')));
    const { body } = await answerAndLog(worker);
    const service = await startService();
    const path = `/logs?request_id=${body.request_id}`;
    const { body: found } = await service.call('admin', 'GET', path);
    expect(found.items).toMatchObject([
      {
        level: 'ERROR',
        message: 'no funds',
        request_id: body.request_id,
        instance_id: 'production',
      },
    ]);
    expect((await service.call('otherAdmin', 'GET', path)).body.items).toEqual([]);
  });
});

test('a hundred failing requests leave a hundred rows without waiting for the ten seconds', async () => {
  const worker = startWorker('production', () => Promise.reject(new ValidationError('m')));
  const answers = await Promise.all(Array.from({ length: 100 }, () => worker.send()));
  await vi.waitFor(async () => expect(await rows()).toHaveLength(100));
  const ids = answers.map(({ body }) => String(body.request_id)).toSorted();
  expect((await rows()).map((row) => row.request_id ?? '').toSorted()).toEqual(ids);
});
