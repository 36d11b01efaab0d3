// The development provider draws: always the same, never through the network, and files that any program can read.
import { expect, test } from 'vitest';
import { drawPng } from '@/workers/shared/provider-adapters/png';
import { createAdapter } from '@/workers/shared/provider-adapters/registry';
import type { GenerationOptions } from '@/workers/shared/provider-adapters/types';
import { failureOf } from './support';

const adapter = () =>
  createAdapter('development', {
    apiKey: 'any-key',
    fetch: () => Promise.reject(new Error('there is no network here')),
    now: () => new Date('2026-01-31T09:30:00.000Z'),
  });

async function draw(prompt: string, options: GenerationOptions = {}): Promise<Uint8Array> {
  const artist = adapter();
  const jobId = await artist.submitJob(artist.formatRequest(prompt, options));
  // By another adapter: nothing is kept in the first.
  const { body } = await adapter().fetchImage(await adapter().fetchResult(jobId));
  return new Uint8Array(await new Response(body).arrayBuffer());
}

test('the same prompt gives the same picture, another prompt another one', async () => {
  const first = await draw('a cat');
  expect(await draw('a cat')).toEqual(first);
  expect(await draw('a dog')).not.toEqual(first);
});

test('a seed decides instead of the prompt', async () => {
  const first = await draw('a cat', { seed: 5 });
  expect(await draw('a dog', { seed: 5 })).toEqual(first);
  expect(await draw('a cat', { seed: 6 })).not.toEqual(first);
});

test.each([
  [undefined, '512x512'],
  ['1:1' as const, '512x512'],
  ['16:9' as const, '512x288'],
  ['2:3' as const, '341x512'],
])('the shape %s has %s', async (aspectRatio, dimensions) => {
  const artist = adapter();
  const jobId = await artist.submitJob(artist.formatRequest('a cat', { aspectRatio }));
  expect((await artist.fetchResult(jobId)).metadata.dimensions).toBe(dimensions);
});

test('what it cannot heed is refused', () => {
  expect(() => adapter().formatRequest('a cat', { negativePrompt: 'blur' })).toThrow(
    'development-1 takes no negativePrompt',
  );
});

test.each([
  { kind: 'json', value: { picture: '1-10000x10000' } },
  { kind: 'json', value: { picture: '1-0x5' } },
  { kind: 'form', fields: {} },
] as const)('a request that it did not format itself is refused: %j', async (body) => {
  const request = { ...adapter().formatRequest('a cat'), body };
  expect(await failureOf(adapter().submitJob(request))).toMatchObject({ kind: 'invalid_response' });
});

test('a link that it did not make is not drawn', async () => {
  const artist = adapter();
  const result = await artist.fetchResult(await artist.submitJob(artist.formatRequest('a cat')));
  for (const image_url of [
    'https://example.com/a.png',
    'development:1-99999x99999',
    'development:x',
  ]) {
    expect(await failureOf(artist.fetchImage({ ...result, image_url }))).toMatchObject({
      kind: 'image_unavailable',
    });
  }
});

/** The checksum of the format, bit by bit. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) {
      crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    }
  }
  return (crc ^ 0xffffffff) >>> 0;
}

test.each([
  [1, 1],
  [64, 64],
  [341, 512],
])('a picture of %i x %i is a whole PNG file', async (width, height) => {
  const png = await drawPng(7, width, height);
  const view = new DataView(png.buffer);
  expect([...png.subarray(0, 8)]).toEqual([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const chunks: [string, Uint8Array][] = [];
  for (let offset = 8; offset < png.length; ) {
    const length = view.getUint32(offset);
    const checked = png.subarray(offset + 4, offset + 8 + length);
    expect(view.getUint32(offset + 8 + length)).toBe(crc32(checked));
    chunks.push([new TextDecoder().decode(checked.subarray(0, 4)), checked.subarray(4)]);
    offset += length + 12;
  }
  expect(chunks.map(([name]) => name)).toEqual(['IHDR', 'PLTE', 'IDAT', 'IEND']);
  const packed = new Response(chunks[2]?.[1]).body?.pipeThrough(new DecompressionStream('deflate'));
  const pixels = new Uint8Array(await new Response(packed).arrayBuffer());
  const lineBytes = 1 + Math.ceil(width / 8);
  expect(pixels).toHaveLength(lineBytes * height);
  // Size, one bit for each pixel, indexed colours; two of them.
  const header = new DataView(png.buffer, 16, 10);
  expect([header.getUint32(0), header.getUint32(4)]).toEqual([width, height]);
  expect([header.getUint8(8), header.getUint8(9)]).toEqual([1, 3]);
  expect(chunks[1]?.[1]).toHaveLength(6);
  // A byte for the filter in front of each line; both colours; the right side mirrors the left.
  const colors = new Set<string>();
  for (let y = 0; y < height; y += 1) {
    const [filter, ...line] = pixels.subarray(y * lineBytes, (y + 1) * lineBytes);
    expect(filter).toBe(0);
    const bits = line.map((byte) => byte.toString(2).padStart(8, '0')).join('');
    const row = [...bits.slice(0, width)];
    row.forEach((bit) => {
      colors.add(bit);
    });
    expect(bits.slice(width)).not.toContain('1');
    if (width % 8 === 0) {
      expect(row.toReversed()).toEqual(row);
    }
  }
  expect(colors.size).toBe(width === 1 ? 1 : 2);
});
