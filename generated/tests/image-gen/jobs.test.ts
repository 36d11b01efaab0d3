// Jobs: what outlives its request is finished later, once, by whoever may ask for it.
import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
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
        log_id: jobId,
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
  ])('%s, says so, and goes on saying so', async (_, outcome, reason) => {
    const { path, jobId } = await timedOut();
    for (const generation of system.mock.generations.values()) {
      generation.outcome = outcome === 'unsafe' ? 'unsafe' : { failed: 'internal_error' };
    }
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
    system.mock.next('poll', { kind: 'status', status: 503 });
    expect((await system.get(path)).body.status).toBe('pending');
    system.mock.next('image', { kind: 'drop-body' }, 3);
    expect((await system.get(path)).body.status).toBe('pending');
    expect((await system.get(path)).body.status).toBe('completed');
    expect(await system.usage()).toHaveLength(1);
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

  test('gets a completed one also when the Config Service is down, and a pending one by the stale copy', async () => {
    const { path } = await timedOut();
    system.configService.isUp = false;
    elapse(6 * 60 * 1000);
    expect((await system.get(path)).body.status).toBe('completed');
    const { keys } = await env.CONFIG_CACHE.list();
    await Promise.all(keys.map(({ name }) => env.CONFIG_CACHE.delete(name)));
    expect((await system.get(path)).body.status).toBe('completed');
  });

  test('of an instance that has lost its key is told so', async () => {
    const { path } = await timedOut();
    await system.manage('PATCH', `/instance/${system.instanceId}`, {
      config: { api_keys: { ideogram: null } },
    });
    expect((await system.get(path)).status).toBe(400);
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
  /** A request by a family that answers only with the image; its time ends before that. */
  async function stuck() {
    const { reached, release } = system.holdProvider();
    const request = generateRequest(
      { prompt: PROMPT, instance_id: system.instanceId, model: 'ideogram-v2' },
      { key: system.keys.user },
    );
    const { response, settled } = system.begin(request);
    await reached;
    system.endTime();
    const { status, body } = await answerOf(await response);
    return { status, path: String(body.status_url), release, settled };
  }

  test('and comes to a good end afterwards completes its job', async () => {
    const { status, path, release, settled } = await stuck();
    expect(status).toBe(504);
    expect((await system.get(path)).body.status).toBe('pending');
    release();
    await settled();
    expect((await system.get(path)).body.status).toBe('completed');
    expect(await system.usage()).toHaveLength(1);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
  });

  test('and fails afterwards fails its job', async () => {
    const { path, release, settled } = await stuck();
    system.mock.next('submit', { kind: 'status', status: 422 });
    release();
    await settled();
    expect((await system.get(path)).body).toMatchObject({
      status: 'failed',
      reason: 'PROVIDER_REJECTED',
    });
  });

  test('and never says anything fails its job in the end', async () => {
    const { path, release, settled } = await stuck();
    elapse(119_000);
    expect((await system.get(path)).body.status).toBe('pending');
    elapse(2_000);
    const failed = { status: 'failed', reason: 'PROVIDER_TIMEOUT' };
    expect((await system.get(path)).body).toMatchObject(failed);
    system.mock.next('submit', { kind: 'no-connection' });
    release();
    await settled();
    expect((await system.get(path)).body).toMatchObject(failed);
  });

  test('of a family with jobs goes on as that job', async () => {
    const { reached, release } = system.holdProvider();
    const request = generateRequest(
      { prompt: PROMPT, instance_id: system.instanceId },
      { key: system.keys.user },
    );
    system.mock.next('submit', { kind: 'pending', polls: 'endless' });
    const { response, settled } = system.begin(request);
    await reached;
    system.endTime();
    const { body } = await answerOf(await response);
    release();
    await settled();
    const path = String(body.status_url);
    expect((await system.get(path)).body.status).toBe('pending');
    for (const generation of system.mock.generations.values()) {
      generation.pendingPolls = 0;
    }
    expect((await system.get(path)).body.status).toBe('completed');
    expect(await system.usage()).toHaveLength(1);
  });
});
