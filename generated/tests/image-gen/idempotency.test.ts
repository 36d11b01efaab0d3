// The `request_id` of a body: one generation and one charge, however often the same request comes, and whatever breaks.
import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { jobIdOfRequest } from '@/workers/image-gen/job-client';
import {
  answerOf,
  elapse,
  generateRequest,
  PROMPT,
  START,
  startSystem,
  type TestSystem,
  UUID,
} from './support';

let system: TestSystem;
let request_id: string;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(START);
  system = await startSystem();
  request_id = crypto.randomUUID();
});

afterEach(() => {
  vi.useRealTimers();
});

describe('the same request again', () => {
  test('gets the first answer, without a second image or charge', async () => {
    const first = await system.generate({ request_id });
    elapse(60_000);
    const second = await system.generate({ request_id: request_id.toUpperCase() });
    expect([first.status, second.status]).toEqual([200, 200]);
    expect(second.body).toEqual(first.body);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
    expect(await system.usage()).toHaveLength(1);
    expect(await system.objects()).toHaveLength(1);
  });

  test('uses up nothing of the limit, and says in the log that it is one', async () => {
    system = await startSystem({ limits: { ideogram: { rpm: 1 } } });
    for (let count = 0; count < 3; count += 1) {
      expect((await system.generate({ request_id })).status).toBe(200);
    }
    const entries = await system.logs();
    expect(entries.map(({ metadata }) => metadata?.replayed)).toEqual([undefined, true, true]);
  });

  test('means the same instance and project, however they are named', async () => {
    const first = await system.generate({ request_id, project_id: system.projectId });
    const second = await system.generate(
      { request_id, project_id: system.projectId, instance_id: undefined },
      { headers: { 'X-Instance-ID': system.instanceId } },
    );
    expect(second.body).toEqual(first.body);
  });

  test('is forgotten after 24 hours', async () => {
    const first = await system.generate({ request_id });
    elapse(25 * 60 * 60 * 1000);
    const second = await system.generate({ request_id });
    expect(second.status).toBe(200);
    expect(second.body.r2_path).not.toBe(first.body.r2_path);
  });

  test('while the first is still running is a conflict; many at once make one image', async () => {
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => system.generate({ request_id })),
    );
    const statuses = answers.map(({ status }) => status).toSorted();
    expect(statuses[0]).toBe(200);
    expect(new Set(statuses)).toEqual(new Set([200, 409]));
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
    expect(await system.usage()).toHaveLength(1);
  });
});

describe('another request with the same id', () => {
  test.each([
    ['another prompt', { prompt: 'another' }],
    ['another model', { model: 'ideogram-v2' }],
  ])('is a conflict: %s', async (_, change) => {
    await system.generate({ request_id });
    const { status, body } = await system.generate({ request_id, ...change });
    expect([status, body.code]).toEqual([409, 'CONFLICT']);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
  });

  test('of another caller is a request of its own', async () => {
    const first = await system.generate({ request_id });
    const second = await system.generate({ request_id }, { key: system.keys.admin });
    expect(second.status).toBe(200);
    expect(second.body.r2_path).not.toBe(first.body.r2_path);
    expect(await system.usage()).toHaveLength(2);
  });

  test('has a job id that looks like any other', async () => {
    expect(await jobIdOfRequest('key-1', request_id)).toMatch(UUID);
    expect(await jobIdOfRequest('key-1', request_id)).not.toBe(
      await jobIdOfRequest('key-2', request_id),
    );
  });
});

describe('a request that failed', () => {
  test.each([429, 401, 500])('with %i of the provider may be made again', async (status) => {
    system.mock.next('submit', { kind: 'status', status }, status === 401 ? 1 : 3);
    expect((await system.generate({ request_id })).status).not.toBe(200);
    expect((await system.generate({ request_id })).status).toBe(200);
    expect(await system.usage()).toHaveLength(1);
  });

  test('because the provider refuses it is answered so again, without asking the provider', async () => {
    system.mock.next('submit', { kind: 'status', status: 422 });
    const first = await system.generate({ request_id });
    const second = await system.generate({ request_id });
    expect([first.status, second.status]).toEqual([422, 422]);
    expect(second.body).toEqual({ ...first.body, error: expect.any(String) });
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
    const other = await system.generate({ request_id, prompt: 'something harmless' });
    expect(other.status).toBe(409);
  });

  test('for want of a key may be made again once there is one', async () => {
    const wish = { request_id, provider: 'development' };
    expect((await system.generate(wish)).status).toBe(400);
    await system.manage('PATCH', `/instance/${system.instanceId}`, {
      config: { api_keys: { development: 'any-key' } },
    });
    expect((await system.generate(wish)).status).toBe(200);
  });

  test('leaves its id free for another request', async () => {
    system.mock.next('submit', { kind: 'status', status: 401 });
    expect((await system.generate({ request_id })).status).toBe(502);
    expect((await system.generate({ request_id, prompt: 'another' })).status).toBe(200);
  });

  test('at the limit may be made again', async () => {
    system = await startSystem({ limits: { ideogram: { rpm: 1 } } });
    await system.generate();
    expect((await system.generate({ request_id })).status).toBe(429);
    elapse(61_000);
    expect((await system.generate({ request_id })).status).toBe(200);
  });

  test('because of us goes on with the image that the provider has made already', async () => {
    const { IMAGES } = system.env;
    const put = () => Promise.reject(new Error('planted'));
    const broken = { put, head: () => Promise.resolve(null) } as unknown as R2Bucket;
    system.env = { ...system.env, IMAGES: broken };
    expect((await system.generate({ request_id })).status).toBe(500);
    system.env = { ...system.env, IMAGES };
    const { status } = await system.generate({ request_id });
    expect(status).toBe(200);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
    expect(await system.usage()).toHaveLength(1);
  });
});

describe('a request by a provider that answers at once', () => {
  test('which failed because of us may be made again: there is no job to go on with', async () => {
    const { IMAGES } = system.env;
    const put = () => Promise.reject(new Error('planted'));
    const broken = { put, head: () => Promise.resolve(null) } as unknown as R2Bucket;
    system.env = { ...system.env, IMAGES: broken };
    const wish = { request_id, model: 'ideogram-v2' };
    expect((await system.generate(wish)).status).toBe(500);
    system.env = { ...system.env, IMAGES };
    expect((await system.generate(wish)).status).toBe(200);
    expect(await system.usage()).toHaveLength(1);
    expect(await system.objects()).toHaveLength(1);
  });
});

describe('a request that was not ready in time', () => {
  test('gets the same job again, also when that is done', async () => {
    system.mock.next('submit', { kind: 'pending', polls: 'endless' });
    const first = await system.generate({ request_id });
    const second = await system.generate({ request_id });
    expect([first.status, second.status]).toEqual([504, 504]);
    expect(second.body).toEqual(first.body);
    for (const generation of system.mock.generations.values()) {
      generation.pendingPolls = 0;
    }
    expect((await system.get(String(first.body.status_url))).body.status).toBe('completed');
    const third = await system.generate({ request_id });
    expect([third.status, third.body]).toEqual([504, first.body]);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
    expect(await system.usage()).toHaveLength(1);
  });
});

describe('an id that is used again after 24 hours', () => {
  test('is remembered for 24 hours once more, though the first ones are over only now', async () => {
    await system.generate({ request_id });
    elapse(24 * 60 * 60 * 1000);
    const second = await system.generate({ request_id, prompt: 'another' });
    expect(second.status).toBe(200);
    const jobId = await jobIdOfRequest('key-1', request_id);
    await runDurableObjectAlarm(env.JOBS.get(env.JOBS.idFromName(`job:${jobId}`)));
    const third = await system.generate({ request_id, prompt: 'another' });
    expect(third.body).toEqual(second.body);
    expect(system.mock.requestsOf('submit')).toHaveLength(2);
  });
});

describe('a job that cannot be told that it is done', () => {
  test('is answered all the same: the image is stored and charged', async () => {
    const { JOBS } = system.env;
    const deaf = new Proxy(JOBS, {
      get: (namespace, property) => {
        const own: unknown = Reflect.get(namespace, property);
        if (property !== 'get') {
          return typeof own === 'function' ? own.bind(namespace) : own;
        }
        return (id: DurableObjectId) => {
          const stub = namespace.get(id);
          return new Proxy(stub, {
            get: (target, name) =>
              name === 'complete'
                ? () => Promise.reject(new Error('planted'))
                : Reflect.get(target, name),
          });
        };
      },
    });
    system.env = { ...system.env, JOBS: deaf };
    const first = await system.generate({ request_id });
    expect(first.status).toBe(200);
    system.env = { ...system.env, JOBS };
    elapse(61_000);
    const again = await system.generate({ request_id });
    expect([again.status, again.body.r2_path]).toEqual([200, first.body.r2_path]);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
    expect(await system.usage()).toHaveLength(1);
  });
});

describe('a request whose Worker has died', () => {
  /** Begins a request and leaves it in the middle: at its n-th call to the provider it stops for ever. */
  async function die(callsBefore: number): Promise<void> {
    const { mock } = system;
    const whole = { prompt: PROMPT, instance_id: system.instanceId, request_id };
    const hold = system.holdProvider(callsBefore);
    const { response } = system.begin(generateRequest(whole, { key: system.keys.user }));
    response.then(answerOf).catch(() => undefined);
    await hold.reached;
    expect(mock.requestsOf('submit')).toHaveLength(Math.min(callsBefore, 1));
  }

  test('before the provider had it begins anew, once its time is over', async () => {
    await die(0);
    elapse(59_000);
    expect((await system.generate({ request_id })).status).toBe(409);
    elapse(1_000);
    expect((await system.generate({ request_id })).status).toBe(200);
    expect(await system.usage()).toHaveLength(1);
  });

  test('leaves its id free for another request, once its time is over', async () => {
    await die(1);
    elapse(60_000);
    expect((await system.generate({ request_id, prompt: 'another' })).status).toBe(200);
    expect(system.mock.requestsOf('submit')).toHaveLength(2);
  });

  test('afterwards goes on with the job of the provider', async () => {
    await die(1);
    elapse(60_000);
    const { status, body } = await system.generate({ request_id });
    expect(status).toBe(200);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
    expect(await system.usage()).toHaveLength(1);
    expect(await system.objects()).toEqual([body.r2_path]);
  });

  test('is not made anew because there was no room for it at first', async () => {
    system = await startSystem({ limits: { ideogram: { rpm: 1 } } });
    await die(1);
    elapse(60_000);
    expect((await system.generate({ model: 'ideogram-v2' })).status).toBe(200);
    expect((await system.generate({ request_id })).status).toBe(429);
    elapse(60_000);
    expect((await system.generate({ request_id })).status).toBe(200);
    expect(system.mock.requestsOf('submit')).toHaveLength(2);
  });

  test('is remembered by the object, not by an isolate', async () => {
    await system.generate({ request_id });
    const jobId = await jobIdOfRequest('key-1', request_id);
    const stub = env.JOBS.get(env.JOBS.idFromName(`job:${jobId}`));
    await runInDurableObject(stub, (_, state) => state.abort('restart')).catch(() => undefined);
    expect((await system.generate({ request_id })).status).toBe(200);
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
  });
});
