// Fetching the image behind a result: while it is being read, too, and whatever the link leads to.
import { describe, expect, test } from 'vitest';
import type { ImageResult } from '@/workers/shared/provider-adapters/types';
import { MOCK_API_KEY, type MockFault } from './mock-ideogram';
import { Bench, failureOf, PROMPT, settle } from './support';

const DAY_MS = 24 * 60 * 60 * 1000;

async function resultOf(bench: Bench): Promise<ImageResult> {
  const adapter = bench.adapter();
  const request = adapter.formatRequest(PROMPT, { model: 'ideogram-v3' });
  return await adapter.fetchResult(await adapter.submitJob(request, MOCK_API_KEY));
}

const at = (image_url: string, dimensions: string | null = '1x1'): ImageResult => ({
  image_url,
  provider: 'ideogram',
  model: 'ideogram-v3',
  metadata: { dimensions, format: 'png', generation_time_ms: 0 },
  usage: { tokens: 0, cost_microdollars: 0 },
});

const bytesOf = async (body: ReadableStream) =>
  new Uint8Array(await new Response(body).arrayBuffer());

/** Serves these pieces, one at a time, with these headers. */
const serving = (
  pieces: number[][],
  headers: Record<string, string> = { 'Content-Type': 'image/png' },
) =>
  new Bench().adapter({
    fetch: () =>
      Promise.resolve(
        new Response(
          new ReadableStream({
            start(controller) {
              for (const piece of pieces) {
                controller.enqueue(Uint8Array.from(piece));
              }
              controller.close();
            },
          }),
          { headers },
        ),
      ),
  });

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const LINK = at('https://ideogram.ai/image.png');

test('the link is fetched without a key', async () => {
  const bench = new Bench();
  const image = await bench.adapter().fetchImage(await resultOf(bench));
  await image.body.cancel();
  const [request] = bench.mock.requestsOf('image');
  expect(request?.status).toBe(200);
  expect(JSON.stringify(request?.headers)).not.toContain(MOCK_API_KEY);
});

test('a link is good for 24 hours', async () => {
  const bench = new Bench();
  const result = await resultOf(bench);
  bench.time += DAY_MS - 1;
  const image = await bench.adapter().fetchImage(result);
  await image.body.cancel();
  bench.time += 1;
  const error = await failureOf(bench.adapter().fetchImage(result));
  expect(error).toMatchObject({ kind: 'image_unavailable', retryable: false, status: 404 });
});

test.each<[MockFault, string, boolean]>([
  [{ kind: 'status', status: 403 }, 'image_unavailable', false],
  [{ kind: 'status', status: 410 }, 'image_unavailable', false],
  [{ kind: 'status', status: 429 }, 'server_error', true],
  [{ kind: 'status', status: 500 }, 'server_error', true],
  [{ kind: 'status', status: 503 }, 'server_error', true],
  [{ kind: 'no-connection' }, 'connection', true],
  [{ kind: 'not-an-image', contentType: 'text/html' }, 'not_an_image', false],
  [{ kind: 'huge-image', bytes: 20 * 1024 * 1024 + 1, declared: true }, 'image_too_large', false],
])('%o at the link is %s, retryable: %s', async (fault, kind, retryable) => {
  const bench = new Bench();
  const result = await resultOf(bench);
  bench.mock.next('image', fault);
  const error = await failureOf(bench.adapter().fetchImage(result));
  expect(error).toMatchObject({ provider: 'ideogram', kind, retryable });
  expect(bench.mock.requestsOf('image')).toHaveLength(1);
});

test('a link that asks to wait says for how long', async () => {
  const bench = new Bench();
  const result = await resultOf(bench);
  bench.mock.next('image', { kind: 'status', status: 503, retryAfter: '7' });
  const error = await failureOf(bench.adapter().fetchImage(result));
  expect(error).toMatchObject({ kind: 'server_error', retryAfterSeconds: 7 });
});

test('an image may have exactly 20 MiB', async () => {
  const bench = new Bench();
  const result = await resultOf(bench);
  const bytes = 20 * 1024 * 1024;
  bench.mock.next('image', { kind: 'huge-image', bytes, declared: false });
  const image = await bench.adapter().fetchImage(result);
  expect(image.sizeBytes).toBeNull();
  expect(await bytesOf(image.body)).toHaveLength(bytes);
});

test('an image that grows too large is broken off while it is read', async () => {
  const bench = new Bench();
  const result = await resultOf(bench);
  bench.mock.next('image', { kind: 'huge-image', bytes: 1_000_000, declared: false });
  const image = await bench.adapter({ maxImageBytes: 999_999 }).fetchImage(result);
  const error = await failureOf(bytesOf(image.body));
  expect(error).toMatchObject({ kind: 'image_too_large', retryable: false });
});

/** Serves an image without end, and tells whether it was let go of. */
function endless(start: number[], { headers = {}, status = 200 }: ResponseInit = {}) {
  const source = { pulled: 0, cancelled: false };
  const body = new ReadableStream(
    {
      pull(controller) {
        controller.enqueue(
          Uint8Array.from([...(source.pulled ? [] : start), ...Array(64).fill(0)]),
        );
        source.pulled += 1;
      },
      cancel() {
        source.cancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  const adapter = new Bench().adapter({
    maxImageBytes: 1_000,
    fetch: () =>
      Promise.resolve(
        new Response(body, { status, headers: { 'Content-Type': 'image/png', ...headers } }),
      ),
  });
  return { source, adapter };
}

test('what is not read to its end is let go of', async () => {
  const kinds = async (start: number[], init?: ResponseInit) => {
    const { source, adapter } = endless(start, init);
    const outcome = adapter.fetchImage(LINK).then((image) => bytesOf(image.body));
    const { kind } = await failureOf(outcome);
    await settle();
    return { kind, cancelled: source.cancelled };
  };
  expect(await kinds(PNG)).toEqual({ kind: 'image_too_large', cancelled: true });
  const text = { headers: { 'Content-Type': 'text/plain' } };
  expect(await kinds(PNG, text)).toEqual({ kind: 'not_an_image', cancelled: true });
  const huge = { headers: { 'Content-Length': '1001' } };
  expect(await kinds(PNG, huge)).toEqual({ kind: 'image_too_large', cancelled: true });
  const refused = { status: 403 };
  expect(await kinds(PNG, refused)).toEqual({ kind: 'image_unavailable', cancelled: true });
});

test('an image that nobody wants any more is let go of', async () => {
  const { source, adapter } = endless(PNG);
  const image = await adapter.fetchImage(LINK);
  await image.body.cancel();
  expect(source.cancelled).toBe(true);
});

test('an image is read no faster than it is asked for', async () => {
  const { source, adapter } = endless(PNG);
  const { body } = await adapter.fetchImage(LINK);
  await settle();
  expect(source.pulled).toBeLessThan(5);
  await body.cancel();
});

test('an image that breaks off fails while it is read', async () => {
  const bench = new Bench();
  const result = await resultOf(bench);
  bench.mock.next('image', { kind: 'drop-body' });
  const image = await bench.adapter().fetchImage(result);
  const error = await failureOf(bytesOf(image.body));
  expect(error).toMatchObject({ kind: 'connection', retryable: true });
});

test.each<MockFault>([{ kind: 'hang' }, { kind: 'stall-body' }])(
  'an image has a time limit ($kind)',
  async (fault) => {
    const bench = new Bench();
    const result = await resultOf(bench);
    bench.mock.next('image', fault);
    const call = failureOf(
      bench
        .adapter()
        .fetchImage(result)
        .then((image) => bytesOf(image.body)),
    );
    await settle();
    expect(bench.limits.at(-1)?.milliseconds).toBe(30_000);
    bench.endTime();
    expect(await call).toMatchObject({ kind: 'timeout', retryable: true });
  },
);

describe('whether it is an image', () => {
  test.each([
    ['image/png', 'image/png'],
    ['Image/JPEG; charset=binary', 'image/jpeg'],
    ['image/gif', 'image/gif'],
    ['image/svg+xml', 'image/svg+xml'],
  ])('goes by its Content-Type: %s', async (header, contentType) => {
    const text = [...new TextEncoder().encode('whatever')];
    const image = await serving([text], { 'Content-Type': header }).fetchImage(LINK);
    expect(image).toMatchObject({ contentType, dimensions: '1x1' });
    expect([...(await bytesOf(image.body))]).toEqual(text);
  });

  test.each(['text/html', 'application/octet-stream', 'image/', 'image', '', undefined])(
    'goes by nothing else, not even by its bytes: %s',
    async (header) => {
      const headers = header === undefined ? {} : { 'Content-Type': header };
      const error = await failureOf(serving([PNG], headers).fetchImage(LINK));
      expect(error).toMatchObject({ kind: 'not_an_image', retryable: false });
    },
  );
});

describe('an image whose size the provider does not say', () => {
  const UNSAID = at('https://ideogram.ai/image.png', null);
  const frame = [0xff, 0xc0, 0, 17, 8, 0x03, 0x00, 0x04, 0x00, 3];
  const comment = [0xff, 0xfe, 0x08, 0x00, ...Array<number>(0x07fe).fill(0xff)];
  const jpeg = [0xff, 0xd8, ...Array.from({ length: 2 }, () => comment).flat(), ...frame];

  test.each([
    ['in one piece', [jpeg]],
    [
      'in pieces',
      Array.from({ length: jpeg.length / 100 + 1 }, (_, index) =>
        jpeg.slice(index * 100, (index + 1) * 100),
      ),
    ],
    ['in pieces of one byte', jpeg.map((byte) => [byte])],
  ])('says it itself, and is passed on whole, %s', async (_, pieces) => {
    const image = await serving(pieces).fetchImage(UNSAID);
    expect(image.dimensions).toBe('1024x768');
    expect([...(await bytesOf(image.body))]).toEqual(jpeg);
  });

  test.each([
    ['has nothing', []],
    ['breaks off before it', [PNG]],
    ['is no image of a known format', [[...new TextEncoder().encode('GIF89a, or whatever else')]]],
  ])('is none if it %s', async (_, pieces) => {
    const error = await failureOf(serving(pieces).fetchImage(UNSAID));
    expect(error).toMatchObject({ kind: 'not_an_image', retryable: false });
  });

  test('is not read further than it may be large', async () => {
    const { source, adapter } = endless([0xff, 0xd8, 0xff, 0xe0, 0xff, 0xff]);
    const error = await failureOf(adapter.fetchImage(UNSAID));
    await settle();
    expect(error).toMatchObject({ kind: 'image_too_large', retryable: false });
    expect(source.pulled).toBeLessThan(20);
    expect(source.cancelled).toBe(true);
  });

  test('has the same time limit', async () => {
    const bench = new Bench();
    const silent = new ReadableStream({ pull: () => new Promise(() => {}) });
    const headers = { 'Content-Type': 'image/png' };
    const adapter = bench.adapter({
      fetch: () => Promise.resolve(new Response(silent, { headers })),
    });
    const call = failureOf(adapter.fetchImage(UNSAID));
    await settle();
    bench.endTime();
    expect(await call).toMatchObject({ kind: 'timeout', retryable: true });
  });

  test.each<MockFault>([
    { kind: 'missing-fields', fields: ['resolution'] },
    { kind: 'wrong-fields', fields: { resolution: null } },
    { kind: 'wrong-fields', fields: { resolution: 'large' } },
    { kind: 'wrong-fields', fields: { resolution: '0x0' } },
    { kind: 'wrong-fields', fields: { resolution: 1024 } },
  ])('is none that failed (%o)', async (fault) => {
    const bench = new Bench();
    bench.mock.always('submit', fault);
    const result = await resultOf(bench);
    expect(result.metadata.dimensions).toBeNull();
    const image = await bench.adapter().fetchImage(result);
    expect(image.dimensions).toBe('1024x1024');
    await image.body.cancel();
  });
});

test('the size is what the provider said, unless it was compressed on the way', async () => {
  const length = { 'Content-Type': 'image/png', 'Content-Length': '8' };
  expect((await serving([PNG], length).fetchImage(LINK)).sizeBytes).toBe(8);
  const encoded = { ...length, 'Content-Encoding': 'br' };
  expect((await serving([PNG], encoded).fetchImage(LINK)).sizeBytes).toBeNull();
});

test.each([
  'http://ideogram.ai/image.png',
  'http://127.0.0.1/image.png',
  'data:image/png;base64,AAAA',
  'file:///etc/passwd',
  'https://',
  'nonsense',
  '',
])('%s is not fetched', async (url) => {
  const bench = new Bench();
  const error = await failureOf(bench.adapter().fetchImage(at(url)));
  expect(error).toMatchObject({ kind: 'image_unavailable', retryable: false });
  expect(bench.mock.journal).toEqual([]);
});
