// The adapter and the mock over a real connection, with the platform's own fetch, clock and time limits.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createAdapter } from '@/workers/shared/provider-adapters/registry';
import { MOCK_API_KEY } from './mock-ideogram';
import { type MockServer, serveMockIdeogram } from './mock-ideogram.cli';
import { failureOf, PROMPT } from './support';

let server: MockServer;

beforeEach(async () => {
  server = await serveMockIdeogram();
});

afterEach(() => server.close());

const adapter = (milliseconds = 5_000) =>
  createAdapter('ideogram', {
    apiKey: MOCK_API_KEY,
    baseUrl: server.origin,
    timeLimits: { submitMs: milliseconds, statusMs: milliseconds, imageMs: milliseconds },
  });

const submit = (model = 'ideogram-4-5', milliseconds?: number) => {
  const provider = adapter(milliseconds);
  return provider.submitJob(provider.formatRequest(PROMPT, { model }), MOCK_API_KEY);
};

test.each(['ideogram-4-5', 'ideogram-v4', 'ideogram-v3', 'ideogram-v2'])(
  '%s: from the prompt to the image',
  async (model) => {
    const provider = adapter();
    const jobId = await provider.submitJob(provider.formatRequest(PROMPT, { model }));
    while ((await provider.checkStatus(jobId)).status === 'pending') {
      // Until it is ready.
    }
    const result = await provider.fetchResult(jobId);
    const image = await provider.fetchImage(result);
    const bytes = Buffer.from(await new Response(image.body).arrayBuffer());
    expect(image.contentType).toBe('image/png');
    expect(`${bytes.readUInt32BE(16)}x${bytes.readUInt32BE(20)}`).toBe(result.metadata.dimensions);
    expect(server.mock.journal.every(({ status }) => status === 200)).toBe(true);
  },
);

test('no connection, and one that breaks, are told as such', async () => {
  server.mock.next('submit', { kind: 'no-connection' });
  expect(await failureOf(submit())).toMatchObject({ kind: 'connection', retryable: true });
  server.mock.next('submit', { kind: 'drop-body' });
  expect(await failureOf(submit())).toMatchObject({ kind: 'connection', retryable: true });
  const { origin } = server;
  await server.close();
  expect(await failureOf(submit())).toMatchObject({ kind: 'connection', retryable: true });
  expect(origin).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
});

test.each(['hang', 'stall-body'] as const)('a provider that does %s is given up', async (kind) => {
  server.mock.next('submit', { kind });
  expect(await failureOf(submit('ideogram-4-5', 50))).toMatchObject({
    kind: 'timeout',
    retryable: true,
  });
});

test('an image that breaks off is an error while it is read', async () => {
  const provider = adapter();
  const jobId = await provider.submitJob(provider.formatRequest(PROMPT, { model: 'ideogram-v3' }));
  server.mock.next('image', { kind: 'drop-body' });
  const outcome = provider
    .fetchImage(await provider.fetchResult(jobId))
    .then(({ body }) => new Response(body).arrayBuffer());
  expect(await failureOf(outcome)).toMatchObject({ kind: 'connection' });
});

test('a wrong key and a scripted refusal come through as they are', async () => {
  const stranger = createAdapter('ideogram', { apiKey: 'wrong', baseUrl: server.origin });
  const error = await failureOf(stranger.submitJob(stranger.formatRequest(PROMPT)));
  expect(error).toMatchObject({ kind: 'authentication', status: 401 });
  server.mock.next('submit', { kind: 'inflight-limit', retryAfter: '3' });
  expect(await failureOf(submit())).toMatchObject({ status: 429, retryAfterSeconds: 3 });
});
