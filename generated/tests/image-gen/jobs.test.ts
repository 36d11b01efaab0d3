// Jobs: what outlives its request is finished later, once, by whoever may ask for it.
import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { MOCK_API_KEY, type MockFault } from '@/tests/provider-adapters/mock-ideogram';
import {
  type Answer,
  answerOf,
  elapse,
  generateRequest,
  ORIGIN,
  PROMPT,
  START,
  startSystem,
  type TestSystem,
  UUID,
} from './support';

const DAY_MS = 24 * 60 * 60 * 1000;

let system: TestSystem;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(START);
  system = await startSystem();
});

afterEach(() => {
  vi.useRealTimers();
});

/** Generates with a provider that is not ready in time; afterwards it is ready at the next look. */
async function timedOut(body: object = {}): Promise<Answer & { path: string; jobId: string }> {
  system.mock.next('submit', { kind: 'pending', polls: 'endless' });
  const answer = await system.generate(body);
  for (const generation of system.mock.generations.values()) {
    generation.pendingPolls = 0;
  }
  const { job_id, status_url } = answer.body;
  return { ...answer, jobId: String(job_id), path: String(status_url) };
}

function jobStub(jobId: string): DurableObjectStub {
  return env.JOBS.get(env.JOBS.idFromName(`job:${jobId}`));
}

describe('a provider that is not ready in time', () => {
  test('is a 504 after 60 seconds, with a job to ask for', async () => {
    const { status, body, jobId, path } = await timedOut();
    expect(status).toBe(504);
    expect(body).toEqual({
      error: expect.any(String),
      code: 'PROVIDER_TIMEOUT',
      job_id: expect.stringMatching(UUID),
      status_url: `/jobs/${jobId}`,
      request_id: expect.stringMatching(UUID),
    });
    expect(path).toBe(`/jobs/${jobId}`);
    const waitedMs = Date.now() - START;
    expect(waitedMs).toBeGreaterThan(50_000);
    expect(waitedMs).toBeLessThanOrEqual(60_000);
    // Growing pauses: the provider was not asked every moment.
    expect(system.mock.requestsOf('poll').length).toBeLessThan(25);
    expect(await system.usage()).toEqual([]);
  });

  test('is given the time of the variable', async () => {
    system.env = { ...system.env, GENERATION_TIMEOUT_MS: '2000' };
    expect((await timedOut()).status).toBe(504);
    expect(Date.now() - START).toBeLessThanOrEqual(2_000);
  });

  test('finishes later: the job gives the image, stored and charged once', async () => {
    const { path, jobId, body } = await timedOut({ project_id: system.projectId });
    const first = await system.get(path);
    expect(first.status).toBe(200);
    expect(first.body).toEqual({
      job_id: jobId,
      status: 'completed',
      success: true,
      image_url: `${ORIGIN}/images/${first.body.r2_path}`,
      r2_path: expect.stringContaining(`${system.instanceId}/${system.projectId}/`),
      metadata: {
        provider: 'ideogram',
        model: 'ideogram-4-5',
        dimensions: '1024x1024',
        generation_time_ms: expect.any(Number),
      },
      request_id: expect.stringMatching(UUID),
    });
    expect((await system.fetch(new Request(String(first.body.image_url)))).status).toBe(200);
    const again = await system.get(path);
    expect({ ...again.body, request_id: '' }).toEqual({ ...first.body, request_id: '' });
    expect(await system.objects()).toHaveLength(1);
    expect(await system.usage()).toMatchObject([
      {
        log_id: expect.stringMatching(UUID),
        request_id: body.request_id,
        project_id: system.projectId,
        user_id: system.userId,
      },
    ]);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
    expect(system.mock.requestsOf('image')).toHaveLength(1);
  });

  test('keeps the job pending as long as it takes', async () => {
    const { path, jobId } = await timedOut();
    for (const generation of system.mock.generations.values()) {
      generation.pendingPolls = 2;
    }
    for (let count = 0; count < 2; count += 1) {
      expect((await system.get(path)).body).toEqual({
        job_id: jobId,
        status: 'pending',
        request_id: expect.stringMatching(UUID),
      });
    }
    expect((await system.get(path)).body.status).toBe('completed');
  });
});

describe('a job that many ask for at once', () => {
  test('is stored and charged once', async () => {
    const { path } = await timedOut();
    const answers = await Promise.all(Array.from({ length: 10 }, () => system.get(path)));
    const statuses = answers.map(({ body }) => body.status);
    expect(statuses).toContain('completed');
    expect(statuses.every((status) => status === 'completed' || status === 'pending')).toBe(true);
    expect(system.mock.requestsOf('image')).toHaveLength(1);
    expect(await system.usage()).toHaveLength(1);
    expect(await system.objects()).toHaveLength(1);
    expect((await system.get(path)).body.status).toBe('completed');
  });

  test('is taken over from somebody who has gone, and still charged once', async () => {
    const { path, jobId } = await timedOut();
    // As after a crash: the image and its usage are stored, but the job was never told.
    const held = await runInDurableObject(jobStub(jobId), (_, { storage }) =>
      storage.kv.get('job'),
    );
    expect((await system.get(path)).body.status).toBe('completed');
    const heldUntilMs = Date.now() + 65_000;
    await runInDurableObject(jobStub(jobId), (_, { storage }) => {
      const record = held as { state: object };
      storage.kv.put('job', { ...record, state: { ...record.state, heldUntilMs } });
    });
    expect((await system.get(path)).body.status).toBe('pending');
    elapse(66_000);
    const { body } = await system.get(path);
    expect(body.status).toBe('completed');
    expect(await system.usage()).toHaveLength(1);
    expect(await system.objects()).toEqual([body.r2_path]);
  });
});

describe('a job that fails', () => {
  test.each([
    ['because the provider gives it up', 'failed', 'PROVIDER_ERROR'],
    ['because the image is unsafe', 'unsafe', 'PROVIDER_REJECTED'],
    ['because the provider has lost it', 'lost', 'PROVIDER_ERROR'],
    ['because its link has expired', 'expired', 'PROVIDER_ERROR'],
  ])('%s, says so, and goes on saying so', async (_, outcome, reason) => {
    const { path, jobId } = await timedOut();
    for (const generation of system.mock.generations.values()) {
      if (outcome === 'unsafe' || outcome === 'failed') {
        generation.outcome = outcome === 'unsafe' ? 'unsafe' : { failed: 'internal_error' };
      }
    }
    const gone: MockFault = { kind: 'status', status: 404 };
    system.mock.always(outcome === 'lost' ? 'poll' : 'image', gone);
    for (let count = 0; count < 2; count += 1) {
      expect((await system.get(path)).body).toEqual({
        job_id: jobId,
        status: 'failed',
        reason,
        request_id: expect.stringMatching(UUID),
      });
    }
    expect(system.mock.requestsOf('poll').length).toBeLessThan(25);
    expect(await system.usage()).toEqual([]);
  });

  test('for a moment only is pending, and completes later', async () => {
    const { path } = await timedOut();
    for (const status of [503, 401, 402, 403, 429]) {
      system.mock.next('poll', { kind: 'status', status });
      expect((await system.get(path)).body.status).toBe('pending');
    }
    system.mock.next('image', { kind: 'drop-body' }, 3);
    expect((await system.get(path)).body.status).toBe('pending');
    expect((await system.get(path)).body.status).toBe('completed');
    expect(await system.usage()).toHaveLength(1);
  });

  test('to be looked at because of an open circuit is pending', async () => {
    const { path } = await timedOut();
    system.mock.next('poll', { kind: 'status', status: 500 }, 5);
    for (let count = 0; count < 7; count += 1) {
      expect((await system.get(path)).body.status).toBe('pending');
    }
    expect(system.mock.requestsOf('poll').filter(({ status }) => status === 500)).toHaveLength(5);
    elapse(31_000);
    expect((await system.get(path)).body.status).toBe('completed');
  });

  test('because of us is a 500, and completes later', async () => {
    const { path } = await timedOut();
    const { IMAGES } = system.env;
    const put = () => Promise.reject(new Error('planted'));
    const broken = { put, head: () => Promise.resolve(null) } as unknown as R2Bucket;
    system.env = { ...system.env, IMAGES: broken };
    const failed = await system.get(path);
    expect([failed.status, failed.body.code]).toEqual([500, 'INTERNAL_ERROR']);
    system.env = { ...system.env, IMAGES };
    expect((await system.get(path)).body.status).toBe('completed');
  });

  test('whose look takes too long is pending, and can be asked for again', async () => {
    const { path } = await timedOut();
    const { reached, release } = system.holdProvider();
    const request = new Request(ORIGIN + path, {
      headers: { Authorization: `Bearer ${system.keys.user}` },
    });
    const { response, settled } = system.begin(request);
    await reached;
    system.endTime();
    expect((await answerOf(await response)).body.status).toBe('pending');
    release();
    await settled();
    expect((await system.get(path)).body.status).toBe('completed');
    expect(await system.usage()).toHaveLength(1);
  });
});

describe('who asks for a job', () => {
  test('must have a key, and access to its instance', async () => {
    const { path } = await timedOut();
    const nobody = await system.get(path, { key: null });
    expect([nobody.status, nobody.body.code]).toEqual([401, 'AUTH_FAILED']);
    const stranger = await system.get(path, { key: system.keys.stranger });
    expect([stranger.status, stranger.body.code]).toEqual([403, 'FORBIDDEN']);
    expect(system.mock.requestsOf('image')).toEqual([]);
    const colleague = await system.get(path, { key: system.keys.admin });
    expect(colleague.body.status).toBe('completed');
    // Charged to whoever generated, not to whoever asked.
    expect(await system.usage()).toMatchObject([{ user_id: system.userId }]);
  });

  test.each(['4d7f0c52-6c54-4bb6-8a57-1f2b3c4d5e6f', 'no-job'])('gets 404 for %s', async (id) => {
    const { status, body } = await system.get(`/jobs/${id}`);
    expect([status, body.code]).toEqual([404, 'NOT_FOUND']);
  });

  test('gets it by the stale copy while the Config Service is down', async () => {
    const { path } = await timedOut();
    system.configService.isUp = false;
    elapse(6 * 60 * 1000);
    expect((await system.get(path)).body.status).toBe('completed');
  });

  test('of an instance that is gone gets 404, although the image was paid for', async () => {
    const { path } = await timedOut();
    expect((await system.get(path)).body.status).toBe('completed');
    await system.manage('DELETE', `/instance/${system.instanceId}`);
    const { status, body } = await system.get(path, { key: system.keys.admin });
    expect([status, body.code]).toEqual([404, 'NOT_FOUND']);
    expect(await system.usage()).toHaveLength(1);
  });

  test('with the key of a project sees the jobs of that project only', async () => {
    const key = await system.newKey({ project_id: system.projectId });
    const own = await timedOut({ project_id: system.projectId });
    const other = await timedOut();
    expect((await system.get(own.path, { key })).body.status).toBe('completed');
    const refused = await system.get(other.path, { key });
    expect([refused.status, refused.body.code]).toEqual([403, 'FORBIDDEN']);
  });

  test('of an instance that has no key for the provider any more finds it pending until it has one', async () => {
    const { path, jobId } = await timedOut();
    const setKey = (ideogram: string | null) =>
      system.manage('PATCH', `/instance/${system.instanceId}`, {
        config: { api_keys: { ideogram } },
      });
    await setKey(null);
    const calls = system.mock.journal.length;
    const { status, body } = await system.get(path);
    expect(status).toBe(200);
    expect(body).toEqual({
      job_id: jobId,
      status: 'pending',
      request_id: expect.stringMatching(UUID),
    });
    expect(system.mock.journal).toHaveLength(calls);
    await setKey(MOCK_API_KEY);
    expect((await system.get(path)).body.status).toBe('completed');
  });
});

describe('a job is remembered', () => {
  test('for 24 hours, and leaves nothing behind', async () => {
    const { path, jobId } = await timedOut();
    await system.get(path);
    elapse(DAY_MS - 61_000);
    expect((await system.get(path)).status).toBe(200);
    elapse(61_000);
    expect((await system.get(path)).status).toBe(404);
    expect(await runDurableObjectAlarm(jobStub(jobId))).toBe(true);
    const left = await runInDurableObject(jobStub(jobId), (_, { storage }) => [
      ...storage.kv.list(),
    ]);
    expect(left).toEqual([]);
  });

  test('across a restart', async () => {
    const { path, jobId } = await timedOut();
    await runInDurableObject(jobStub(jobId), (_, state) => state.abort('restart')).catch(
      () => undefined,
    );
    expect((await system.get(path)).body.status).toBe('completed');
  });
});

describe('a submission that is not answered in time', () => {
  test.each(['ideogram-v2', 'ideogram-4-5'])(
    'by %s leaves a job that has failed, and is not made again',
    async (model) => {
      const { reached, release } = system.holdProvider();
      const { response, settled } = system.begin(
        generateRequest(
          { prompt: PROMPT, instance_id: system.instanceId, model },
          { key: system.keys.user },
        ),
      );
      await reached;
      system.endTime();
      const { status, body } = await answerOf(await response);
      expect([status, body.code]).toEqual([504, 'PROVIDER_TIMEOUT']);
      const job = () => system.get(String(body.status_url));
      const failed = { status: 'failed', reason: 'PROVIDER_TIMEOUT' };
      expect((await job()).body).toMatchObject(failed);
      release();
      await settled();
      // What comes too late changes nothing: it has failed, and stays so.
      expect((await job()).body).toMatchObject(failed);
      expect(system.mock.requestsOf('submit').length).toBeLessThanOrEqual(1);
      expect(await system.usage()).toEqual([]);
    },
  );
});

describe('an image that is not there in time', () => {
  test('of a provider that answered at once leaves a job that has failed: only this request had it', async () => {
    const { reached, release } = system.holdProvider(1);
    const { response, settled } = system.begin(
      generateRequest(
        { prompt: PROMPT, instance_id: system.instanceId, model: 'ideogram-v2' },
        { key: system.keys.user },
      ),
    );
    await reached;
    system.endTime();
    const { status, body } = await answerOf(await response);
    expect(status).toBe(504);
    release();
    await settled();
    expect((await system.get(String(body.status_url))).body).toMatchObject({
      status: 'failed',
      reason: 'PROVIDER_TIMEOUT',
    });
    expect(await system.usage()).toEqual([]);
  });

  test('is fetched when the job is asked for', async () => {
    system.mock.next('submit', { kind: 'pending', polls: 0 });
    const { reached, release } = system.holdProvider(2);
    const { response } = system.begin(
      generateRequest(
        { prompt: PROMPT, instance_id: system.instanceId },
        { key: system.keys.user },
      ),
    );
    await reached;
    system.endTime();
    const { status, body } = await answerOf(await response);
    expect(status).toBe(504);
    release();
    expect((await system.get(String(body.status_url))).body.status).toBe('completed');
    expect(await system.usage()).toHaveLength(1);
    expect(await system.objects()).toHaveLength(1);
  });
});
