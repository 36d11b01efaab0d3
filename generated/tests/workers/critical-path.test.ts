// The parts together, as a customer meets them: everything that the customer needs is made through the Config Service,
// and from then on only the image-generation Worker is asked.
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  answerOf,
  elapse,
  generateRequest,
  ORIGIN,
  START,
  startSystem,
  type TestSystem,
} from '@/tests/image-gen/support';
import { MOCK_API_KEY } from '@/tests/provider-adapters/mock-ideogram';

const PROMPT = 'a poster of a lighthouse';

let system: TestSystem;
let instanceId: string;
let key: string;

/** A customer of its own: organisation, instance with its own bucket, project, user with access, and the user's key. */
async function setUpCustomer(rpm: number): Promise<void> {
  const suffix = crypto.randomUUID().slice(0, 8);
  const create = async (method: string, path: string, body?: object) => {
    const { status, body: created } = await system.manage(method, path, body);
    expect([200, 201], `${path}: ${JSON.stringify(created)}`).toContain(status);
    return created;
  };
  instanceId = `globex-${suffix}`;
  await create('POST', '/organization', {
    org_id: `globex-org-${suffix}`,
    name: 'Globex',
    billing_email: 'pay@globex.example',
  });
  await create('POST', '/instance', {
    instance_id: instanceId,
    org_id: `globex-org-${suffix}`,
    name: 'Main',
    config: {
      api_keys: { ideogram: MOCK_API_KEY },
      rate_limits: { ideogram: { rpm } },
      r2_bucket: 'prod-images',
    },
  });
  await create('POST', '/project', {
    project_id: `${instanceId}-posters`,
    instance_id: instanceId,
    name: 'Posters',
  });
  const user = await create('POST', '/user', {
    org_id: `globex-org-${suffix}`,
    email: 'dev@globex.example',
  });
  await create('PUT', `/instance/${instanceId}/access/${user.user_id}`);
  key = String((await create('POST', `/user/${user.user_id}/key`, { name: 'laptop' })).key);
}

const generate = (body: object = {}) =>
  system.generate({ prompt: PROMPT, instance_id: instanceId, ...body }, { key });

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(START);
  system = await startSystem();
});

afterEach(() => {
  vi.useRealTimers();
});

test('one call leads to an image that is generated, kept, served, charged and logged', async () => {
  await setUpCustomer(60);
  const { status, body } = await generate({ project_id: `${instanceId}-posters` });
  expect(status).toBe(200);

  // The provider was asked once, in its own way, with the instance's key; the caller never sees its link.
  const [submitted, ...others] = system.mock.requestsOf('submit');
  expect(others).toEqual([]);
  expect(submitted?.headers['api-key']).toBe(MOCK_API_KEY);
  expect(submitted?.headers).not.toHaveProperty('authorization');
  expect(submitted?.body).toEqual({ prompt: PROMPT, async: true });
  expect(JSON.stringify(body)).not.toMatch(/ideogram\.ai|ephemeral/);

  // The image lies in the bucket of the instance, and its URL gives the provider's bytes.
  expect(await env.IMAGES_PROD_IMAGES.head(String(body.r2_path))).not.toBeNull();
  const [fetched] = system.mock.requestsOf('image');
  const original = await system.mock.fetch(new Request(`https://ideogram.ai${fetched?.path}`));
  const served = await system.fetch(new Request(String(body.image_url)));
  expect(await served.arrayBuffer()).toEqual(await original.arrayBuffer());

  // One id leads from the answer to the row of usage and to the entry in the log.
  expect(await system.usage()).toMatchObject([
    { request_id: body.request_id, instance_id: instanceId, provider: 'ideogram', cost: 60_000 },
  ]);
  const buffer = env.LOG_BUFFER.get(env.LOG_BUFFER.idFromName(`instance:${instanceId}`));
  const logged = await runInDurableObject(buffer, (_, { storage }) =>
    storage.sql.exec<{ entry: string }>('SELECT entry FROM entries').toArray(),
  );
  expect(logged.map(({ entry }) => JSON.parse(entry).request_id)).toEqual([body.request_id]);
});

describe('admission', () => {
  const burst = async (size: number) => {
    const answers = await Promise.all(
      Array.from({ length: size }, () => generate({ model: 'ideogram-v2' })),
    );
    return answers.filter(({ status }) => status === 200).length;
  };

  test('of 50 at once against a limit of 10 is exact; after the window, 10 more; a restart forgets nothing', async () => {
    await setUpCustomer(10);
    expect(await burst(50)).toBe(10);
    const name = `instance:${instanceId}:provider:ideogram`;
    const stub = env.RATE_LIMITER.get(env.RATE_LIMITER.idFromName(name));
    await runInDurableObject(stub, (_, state) => state.abort('restart')).catch(() => undefined);
    elapse(30_000);
    const refused = await generate();
    expect([refused.status, refused.body.code]).toEqual([429, 'RATE_LIMITED']);
    expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(20);
    elapse(31_000);
    expect(await burst(12)).toBe(10);
    expect(system.mock.requestsOf('submit')).toHaveLength(20);
  });

  test('of one customer is none of the other customer’s business', async () => {
    await setUpCustomer(1);
    expect((await generate()).status).toBe(200);
    expect((await generate()).status).toBe(429);
    expect((await system.generate()).status).toBe(200);
  });

  test('follows a change of the limit at once', async () => {
    await setUpCustomer(1);
    await generate();
    expect((await generate()).status).toBe(429);
    await system.manage('PATCH', `/instance/${instanceId}`, {
      config: { rate_limits: { ideogram: { rpm: 2 } } },
    });
    expect((await generate()).status).toBe(200);
  });
});

describe('the provider', () => {
  test.each([402, 422])('that answers %i is not asked again', async (status) => {
    await setUpCustomer(60);
    system.mock.always('submit', { kind: 'status', status });
    const { body } = await generate();
    expect(body.code).toBe(status === 422 ? 'PROVIDER_REJECTED' : 'PROVIDER_ERROR');
    expect(system.mock.requestsOf('submit')).toHaveLength(1);
  });

  test('that marks an image as unsafe, with a 200 and an empty link, ends in an error', async () => {
    await setUpCustomer(60);
    system.mock.next('submit', { kind: 'unsafe' }, 2);
    for (const model of ['ideogram-v3', 'ideogram-4-5']) {
      const { status, body } = await generate({ model });
      expect([status, body.code]).toEqual([422, 'PROVIDER_REJECTED']);
    }
    expect(await system.usage()).toEqual([]);
  });

  test('that fails is a 502, one that is slow a 504 with a job that is finished later', async () => {
    await setUpCustomer(60);
    system.mock.next('submit', { kind: 'status', status: 500 }, 3);
    expect((await generate()).status).toBe(502);
    system.mock.next('submit', { kind: 'pending', polls: 'endless' });
    const slow = await generate();
    expect([slow.status, slow.body.code]).toEqual([504, 'PROVIDER_TIMEOUT']);
    for (const generation of system.mock.generations.values()) {
      generation.pendingPolls = 0;
    }
    const job = await system.get(String(slow.body.status_url), { key });
    expect(job.body).toMatchObject({ status: 'completed', success: true });
    expect((await system.fetch(new Request(String(job.body.image_url)))).status).toBe(200);
    expect(await system.usage()).toMatchObject([{ request_id: slow.body.request_id }]);
  });
});

describe('the foundation', () => {
  test('decides who may: no key, a revoked one, one without access, an instance that is gone', async () => {
    await setUpCustomer(60);
    expect((await generate()).status).toBe(200);
    const anonymous = generateRequest({ prompt: PROMPT, instance_id: instanceId });
    expect((await answerOf(await system.fetch(anonymous))).status).toBe(401);
    const stranger = generateRequest(
      { prompt: PROMPT, instance_id: instanceId },
      { key: system.keys.stranger },
    );
    expect((await answerOf(await system.fetch(stranger))).status).toBe(403);
    await env.DB.prepare('UPDATE api_keys SET revoked_at = ? WHERE name = ?')
      .bind(new Date(START).toISOString(), 'laptop')
      .run();
    expect((await generate()).status).toBe(401);
    await system.manage('DELETE', `/instance/${instanceId}`);
    const gone = generateRequest(
      { prompt: PROMPT, instance_id: instanceId },
      { key: system.keys.admin },
    );
    expect((await answerOf(await system.fetch(gone))).status).toBe(404);
    // What was used is still owed.
    expect(await system.usage()).toHaveLength(1);
  });

  test('gives the configuration: without the Config Service the old copy serves, for a day at most', async () => {
    await setUpCustomer(60);
    await generate();
    system.configService.isUp = false;
    elapse(10 * 60 * 1000);
    const { status, body } = await generate();
    expect(status).toBe(200);
    expect(body.r2_path).toContain(`${instanceId}/default/`);
    const { keys } = await env.CONFIG_CACHE.list();
    await Promise.all(keys.map(({ name }) => env.CONFIG_CACHE.delete(name)));
    expect((await generate()).status).toBe(503);
    system.configService.isUp = true;
    expect((await generate()).status).toBe(200);
  });

  test('takes a new provider key at once', async () => {
    await setUpCustomer(60);
    await system.manage('PATCH', `/instance/${instanceId}`, {
      config: { api_keys: { ideogram: 'a-wrong-provider-key' } },
    });
    expect((await generate()).status).toBe(502);
    await system.manage('PATCH', `/instance/${instanceId}`, {
      config: { api_keys: { ideogram: MOCK_API_KEY } },
    });
    expect((await generate()).status).toBe(200);
  });
});

test('images are served to everybody, and only images', async () => {
  await setUpCustomer(60);
  const { body } = await generate();
  const url = String(body.image_url);
  expect(url.startsWith(`${ORIGIN}/images/${instanceId}/default/`)).toBe(true);
  const first = await system.fetch(new Request(url));
  await first.arrayBuffer();
  const headers = { 'If-None-Match': first.headers.get('ETag') ?? '' };
  expect((await system.fetch(new Request(url, { headers }))).status).toBe(304);
  const part = await system.fetch(new Request(url, { headers: { Range: 'bytes=0-7' } }));
  expect(new Uint8Array(await part.arrayBuffer())).toEqual(
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
  );
  await env.IMAGES.put(`${instanceId}/default/1767225600000_page.html`, '<script></script>', {
    httpMetadata: { contentType: 'text/html' },
  });
  const page = await system.get(`/images/${instanceId}/default/1767225600000_page.html`);
  expect([page.status, page.body.code]).toEqual([404, 'NOT_FOUND']);
});
