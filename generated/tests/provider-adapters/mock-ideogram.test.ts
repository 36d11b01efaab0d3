// The mock Ideogram itself: a stand-in that lets mistakes through would make every test that uses it worthless.
import { describe, expect, test } from 'vitest';
import { MOCK_API_KEY, MockIdeogram, type MockIdeogramOptions } from './mock-ideogram';

const API = 'https://api.ideogram.ai';
const V45 = '/v2/image/generate/ideogram-4-5';
const V3 = '/v1/ideogram-v3/generate';
const V4 = '/v1/ideogram-v4/generate';

interface Sent {
  path?: string;
  method?: string;
  headers?: Record<string, string>;
  body?: BodyInit | null;
}

/** A request that is right but for what the test says. */
function post(mock: MockIdeogram, { path = V45, method = 'POST', headers = {}, body }: Sent = {}) {
  const json = { 'Content-Type': 'application/json' };
  return mock.fetch(
    new Request(`${API}${path}`, {
      method,
      headers: {
        'Api-Key': MOCK_API_KEY,
        ...(body instanceof FormData || body === null ? {} : json),
        ...headers,
      },
      body: body === undefined ? JSON.stringify({ prompt: 'a cat' }) : body,
    }),
  );
}

function form(fields: Record<string, string>): FormData {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    data.append(name, value);
  }
  return data;
}

const get = (mock: MockIdeogram, url: string, headers: Record<string, string> = {}) =>
  mock.fetch(new Request(url.startsWith('http') ? url : `${API}${url}`, { headers }));

interface Body {
  generation_id: string;
  status: string;
  data: { url: string; seed: number; resolution: string }[];
}

const read = async (answer: Promise<Response>) => (await (await answer).json()) as Body;
const withKey = { 'Api-Key': MOCK_API_KEY };
const begin = (mock: MockIdeogram) =>
  read(post(mock, { body: JSON.stringify({ prompt: 'a cat', async: true }) }));
const poll = (mock: MockIdeogram, id: string) => read(get(mock, `/v2/generations/${id}`, withKey));

describe('refuses', () => {
  test.each<[string, number, Sent]>([
    ['no key', 401, { headers: { 'Api-Key': '' } }],
    ['a wrong key', 401, { headers: { 'Api-Key': 'another' } }],
    [
      'the key as a bearer',
      401,
      { headers: { 'Api-Key': '', Authorization: `Bearer ${MOCK_API_KEY}` } },
    ],
    ['another method', 405, { method: 'PUT' }],
    ['another path', 404, { path: '/v2/image/generate/ideogram-9' }],
    ['a path with a slash too many', 404, { path: `${V45}/` }],
    ['a form where JSON belongs', 400, { body: form({ prompt: 'a cat' }) }],
    ['JSON that calls itself text', 400, { headers: { 'Content-Type': 'text/plain' } }],
    ['JSON that breaks off', 400, { body: '{"prompt":' }],
    ['no prompt', 400, { body: '{}' }],
    ['an empty prompt', 400, { body: '{"prompt":" "}' }],
    ['a prompt that is a number', 400, { body: '{"prompt":5}' }],
    ['an unknown field', 400, { body: '{"prompt":"a cat","quality":"high"}' }],
    ['null for a missing field', 400, { body: '{"prompt":"a cat","seed":null}' }],
    ['a ratio in another form', 400, { body: '{"prompt":"a cat","aspect_ratio":"16:9"}' }],
    ['nine images', 400, { body: '{"prompt":"a cat","num_images":9}' }],
    [
      'a ratio with a resolution',
      400,
      { body: '{"prompt":"a cat","aspect_ratio":"1x1","resolution":"1024x1024"}' },
    ],
    ['JSON where a form belongs', 400, { path: V3 }],
    [
      'a form with another boundary',
      400,
      {
        path: V3,
        body: '--a\r\n\r\n--a--',
        headers: { 'Content-Type': 'multipart/form-data; boundary=b' },
      },
    ],
    [
      'an unknown field in a form',
      400,
      { path: V3, body: form({ prompt: 'a cat', async: 'true' }) },
    ],
    ['a seed in words', 400, { path: V3, body: form({ prompt: 'a cat', seed: 'seven' }) }],
    ['a prompt that 4.0 calls otherwise', 400, { path: V4, body: form({ prompt: 'a cat' }) }],
    ['neither prompt of 4.0', 400, { path: V4, body: form({ resolution: '2048x2048' }) }],
    [
      'both prompts of 4.0',
      400,
      { path: V4, body: form({ text_prompt: 'a cat', json_prompt: '{}' }) },
    ],
    ['a legacy request without its envelope', 400, { path: '/generate' }],
    [
      'an unknown field in a legacy request',
      400,
      { path: '/generate', body: '{"image_request":{"prompt":"a cat","async":true}}' },
    ],
    [
      'an unknown field beside a legacy request',
      400,
      { path: '/generate', body: '{"image_request":{"prompt":"a cat"},"async":true}' },
    ],
    [
      'a legacy model by another name',
      400,
      {
        path: '/generate',
        body: '{"image_request":{"prompt":"a cat","model":"ideogram-v2"}}',
      },
    ],
    [
      'a legacy ratio in another form',
      400,
      {
        path: '/generate',
        body: '{"image_request":{"prompt":"a cat","aspect_ratio":"16x9"}}',
      },
    ],
  ])('%s with %i', async (_, status, sent) => {
    const mock = new MockIdeogram();
    const answer = await post(mock, sent);
    expect(answer.status).toBe(status);
    expect(await answer.json()).toEqual({ error: expect.any(String) });
    expect(mock.generations.size).toBe(0);
    expect(mock.journal).toMatchObject([{ status }]);
  });

  test('a field that is there twice', async () => {
    const body = form({ prompt: 'a cat' });
    body.append('prompt', 'a dog');
    expect((await post(new MockIdeogram(), { path: V3, body })).status).toBe(400);
  });

  test('polls for what is not of this key, this version, or no job', async () => {
    const mock = new MockIdeogram({ apiKeys: [MOCK_API_KEY, 'another'] });
    const { generation_id: id } = await begin(mock);
    const direct = await read(post(mock));
    const statusOf = async (path: string, key = MOCK_API_KEY) =>
      (await get(mock, path, { 'Api-Key': key })).status;
    expect(await statusOf(`/v2/generations/${id}`)).toBe(200);
    expect(await statusOf(`/v1/generations/${id}`)).toBe(404);
    expect(await statusOf(`/v2/generations/${id}`, 'another')).toBe(404);
    expect(await statusOf(`/v2/generations/${id}`, 'wrong')).toBe(401);
    expect(await statusOf(`/v2/generations/${direct.generation_id}`)).toBe(404);
    expect(await statusOf('/v2/generations/unknown')).toBe(404);
    expect((await post(mock, { path: `/v2/generations/${id}` })).status).toBe(405);
  });

  test('images for requests with a key, and images that it never made', async () => {
    const mock = new MockIdeogram();
    const [image] = (await read(post(mock))).data;
    const url = image?.url ?? '';
    expect((await get(mock, url)).status).toBe(200);
    expect((await get(mock, url, withKey)).status).toBe(400);
    expect((await get(mock, url, { Authorization: 'Bearer key' })).status).toBe(400);
    expect((await get(mock, url.replace('0.png', '1.png'))).status).toBe(404);
    expect((await get(mock, '/api/images/ephemeral/unknown.png')).status).toBe(404);
  });
});

test('the limit counts images in progress, of each key, and not requests', async () => {
  const mock = new MockIdeogram({
    apiKeys: [MOCK_API_KEY, 'another'],
    maxInflightImages: 5,
    pendingPolls: { min: 1, max: 1 },
  });
  const four = JSON.stringify({ prompt: 'a cat', async: true, num_images: 4 });
  const { generation_id: id } = await read(post(mock, { body: four }));
  expect(mock.imagesInFlight()).toBe(4);
  const refused = await post(mock, { body: four });
  expect(refused.status).toBe(429);
  expect(await refused.json()).toMatchObject({ reject_reason: 'inflight_limit' });
  expect((await post(mock, { body: four, headers: { 'Api-Key': 'another' } })).status).toBe(200);
  expect((await post(mock)).status).toBe(200);
  expect(mock.imagesInFlight(MOCK_API_KEY)).toBe(4);
  await poll(mock, id);
  expect(mock.imagesInFlight(MOCK_API_KEY)).toBe(4);
  await poll(mock, id);
  expect(mock.imagesInFlight(MOCK_API_KEY)).toBe(0);
  expect((await post(mock, { body: four })).status).toBe(200);
});

test('a request that waits for its images is in progress as long as it waits', async () => {
  let finish = () => {};
  const mock = new MockIdeogram({
    maxInflightImages: 1,
    wait: () =>
      new Promise((resolve) => {
        finish = resolve;
      }),
  });
  mock.next('submit', { kind: 'latency', milliseconds: 1_000 });
  const first = post(mock);
  while (mock.imagesInFlight() === 0) {
    await Promise.resolve();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  expect((await post(mock)).status).toBe(429);
  finish();
  expect((await first).status).toBe(200);
  expect((await post(mock)).status).toBe(200);
});

test('a job that nobody asks for any more makes room after ten minutes', async () => {
  let time = 0;
  const mock = new MockIdeogram({ now: () => new Date(time), maxInflightImages: 1 });
  await begin(mock);
  time += 599_999;
  expect(mock.imagesInFlight()).toBe(1);
  time += 1;
  expect(mock.imagesInFlight()).toBe(0);
});

test('links lead where the test says, and expire by its clock', async () => {
  let time = 0;
  const options: MockIdeogramOptions = {
    now: () => new Date(time),
    imageOrigin: 'http://127.0.0.1:8799',
    linkLifetimeMs: 60_000,
  };
  const mock = new MockIdeogram(options);
  const [image] = (await read(post(mock))).data;
  const url = image?.url ?? '';
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:8799\/api\/images\/ephemeral\/[\w-]+\.png\?exp=60$/);
  time = 59_999;
  expect((await get(mock, url)).status).toBe(200);
  time = 60_000;
  expect((await get(mock, url)).status).toBe(404);
});

test('the images of one generation differ, and a seed draws the same again', async () => {
  const body = JSON.stringify({ prompt: 'a cat', num_images: 2, seed: 7, aspect_ratio: '2x1' });
  const draw = async (seed: number) => {
    const mock = new MockIdeogram({ seed });
    const { data } = await read(post(mock, { body }));
    expect(data.map(({ seed, resolution }) => [seed, resolution])).toEqual([
      [7, '1024x512'],
      [8, '1024x512'],
    ]);
    return await Promise.all(
      data.map(async ({ url }) => {
        const answer = await get(mock, url);
        expect(answer.headers.get('Content-Type')).toBe('image/png');
        return new Uint8Array(await answer.arrayBuffer()).join();
      }),
    );
  };
  const [first, second] = await draw(1);
  expect(first === second).toBe(false);
  expect((await draw(2))[0] === first).toBe(true);
});

test('the link of a withheld image is now empty and now null', async () => {
  const mock = new MockIdeogram();
  mock.always('submit', { kind: 'unsafe' });
  const links = new Set<unknown>();
  for (let request = 0; request < 20; request += 1) {
    const [image] = (await read(post(mock))).data;
    expect(image).toMatchObject({ is_image_safe: false });
    links.add(image?.url);
  }
  expect(links).toEqual(new Set(['', null]));
});

test('two mocks with the same seed say the same, and with another seed something else', async () => {
  const session = async (seed: number) => {
    const mock = new MockIdeogram({ seed, now: () => new Date(0) });
    const texts: string[] = [];
    for (let job = 0; job < 6; job += 1) {
      const { generation_id: id } = await begin(mock);
      for (let status = 'pending'; status === 'pending'; ) {
        const text = await (await get(mock, `/v2/generations/${id}`, withKey)).text();
        texts.push(text);
        ({ status } = JSON.parse(text) as Body);
      }
    }
    return texts;
  };
  const first = await session(1);
  expect(await session(1)).toEqual(first);
  expect(await session(2)).not.toEqual(first);
  // Not every job is pending equally often, and the fields of the same answer come in more than one order.
  const counts = first
    .join('\n')
    .split('"completed"')
    .map((part) => part.split('"pending"').length);
  expect(new Set(counts).size).toBeGreaterThan(1);
  const pending = first.filter((text) => text.includes('"pending"'));
  expect(new Set(pending.map((text) => Object.keys(JSON.parse(text)).join())).size).toBeGreaterThan(
    1,
  );
});

test('faults come in the order of their script, then the standing one, then none', async () => {
  const mock = new MockIdeogram();
  mock.always('submit', { kind: 'status', status: 503 });
  mock.next('submit', { kind: 'inflight-limit', retryAfter: '2' }, 2);
  mock.next('submit', { kind: 'status', status: 402, body: { reject_reason: 'daily_limit' } });
  const statuses = [];
  for (let request = 0; request < 5; request += 1) {
    statuses.push((await post(mock)).status);
  }
  expect(statuses).toEqual([429, 429, 402, 503, 503]);
  expect(mock.requestsOf('submit').map(({ status }) => status)).toEqual(statuses);
  mock.reset();
  expect((await post(mock)).status).toBe(200);
  expect(mock.journal).toHaveLength(1);
});

test.each([
  ['rejected', 422],
  ['no-funds', 402],
  ['busy', 429],
  ['broken', 500],
  ['failed', 500],
  ['unsafe', 200],
  ['unknown', 200],
])('a prompt with [mock:%s] is answered with %i', async (name, status) => {
  const mock = new MockIdeogram();
  const body = JSON.stringify({ prompt: `a cat [mock:${name}]` });
  expect((await post(mock, { body })).status).toBe(status);
});

test('[mock:endless] is pending for ever, [mock:slow] eight times', async () => {
  const mock = new MockIdeogram();
  const pendingOf = async (name: string) => {
    const body = JSON.stringify({ prompt: `a cat [mock:${name}]`, async: true });
    const { generation_id: id } = await read(post(mock, { body }));
    let pending = 0;
    while (pending < 50 && (await poll(mock, id)).status === 'pending') {
      pending += 1;
    }
    return pending;
  };
  expect(await pendingOf('slow')).toBe(8);
  expect(await pendingOf('endless')).toBe(50);
});

test('the journal has what was sent, with when and what came of it', async () => {
  const mock = new MockIdeogram({ now: () => new Date(5) });
  await post(mock, { path: V3, body: form({ prompt: 'a cat', seed: '7' }) });
  await get(mock, '/elsewhere');
  expect(mock.journal).toMatchObject([
    {
      stage: 'submit',
      method: 'POST',
      path: V3,
      family: 'v3',
      body: { prompt: 'a cat', seed: '7' },
      at: new Date(5),
      status: 200,
    },
    { stage: 'other', method: 'GET', path: '/elsewhere', family: null, status: 404 },
  ]);
  expect(mock.journal[0]?.headers).toMatchObject({ 'api-key': MOCK_API_KEY });
});

test('headers for a server come in any order and case, and all of them', () => {
  const mock = new MockIdeogram();
  const response = new Response(null, { headers: { 'Content-Type': 'a/b', 'Retry-After': '1' } });
  const seen = new Set<string>();
  for (let turn = 0; turn < 50; turn += 1) {
    const headers = mock.rawHeaders(response);
    expect(new Headers(headers)).toEqual(response.headers);
    seen.add(headers.map(([name]) => name).join());
  }
  expect(seen.size).toBeGreaterThan(8);
});
