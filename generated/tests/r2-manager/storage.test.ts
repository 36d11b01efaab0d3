// Uploads to a local R2: what lies there afterwards, and what does not when something went wrong.
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { readImageMetadata } from '@/workers/shared/r2-manager/metadata';
import { StorageError, uploadImage } from '@/workers/shared/r2-manager/storage';
import { IMAGE_BYTES_MAX, type StorageErrorKind } from '@/workers/shared/r2-manager/types';
import {
  emptyBuckets,
  imageBytes,
  keysIn,
  ORIGIN,
  optionsWith,
  START,
  storageEnv,
  streamOf,
} from './support';

const PATH = /^production\/content-forge\/1767225600000_image-[0-9a-f]{32}\.png$/;

beforeEach(emptyBuckets);

async function storedBytes(path: string, bucket = env.IMAGES): Promise<Uint8Array> {
  const object = await bucket.get(path);
  return new Uint8Array((await object?.arrayBuffer()) ?? new ArrayBuffer(0));
}

async function expectFailure(upload: Promise<unknown>, kind: StorageErrorKind): Promise<Error> {
  const error: unknown = await upload.then(
    () => new Error('it was stored'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StorageError);
  expect(error).toMatchObject({ kind });
  expect(await keysIn(env.IMAGES)).toEqual([]);
  return error as Error;
}

describe('an upload', () => {
  test('from a buffer stores the bytes, the type and the metadata', async () => {
    const bytes = imageBytes();
    const result = await uploadImage(bytes.buffer, optionsWith(), storageEnv);
    expect(result).toEqual({
      r2_path: expect.stringMatching(PATH),
      cdn_url: `${ORIGIN}/images/${result.r2_path}`,
      bucket: 'default',
      size_bytes: 1000,
    });
    expect(await storedBytes(result.r2_path)).toEqual(bytes);
    const object = await env.IMAGES.head(result.r2_path);
    expect(object?.httpMetadata).toMatchObject({ contentType: 'image/png' });
    expect(object?.size).toBe(1000);
    expect(object && readImageMetadata(object)).toEqual({
      instance_id: 'production',
      project_id: 'content-forge',
      provider: 'ideogram',
      model: 'ideogram-v2',
      prompt: 'a lighthouse',
      generation_timestamp: START.toISOString(),
    });
  });

  test.each([
    ['whose length is known', 100_000],
    ['whose length nobody told', undefined],
  ])('from a stream %s stores the same', async (_, sizeBytes) => {
    const bytes = imageBytes(100_000);
    const result = await uploadImage(
      streamOf(bytes, { chunkBytes: 4096 }),
      optionsWith({ sizeBytes }),
      storageEnv,
    );
    expect(result.size_bytes).toBe(100_000);
    expect(await storedBytes(result.r2_path)).toEqual(bytes);
  });

  test('passes a stream of known length on while it comes in', async () => {
    const bytes = imageBytes(300_000);
    let sent = 0;
    let sentWhenPutBegan = -1;
    const source = streamOf(bytes, { chunkBytes: 1000 }).pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          sent += chunk.byteLength;
          controller.enqueue(chunk);
        },
      }),
    );
    const watched = new Proxy(env.IMAGES, {
      get(bucket, name) {
        return name === 'put'
          ? (...parameters: Parameters<R2Bucket['put']>) => {
              sentWhenPutBegan = sent;
              return bucket.put(...parameters);
            }
          : Reflect.get(bucket, name).bind(bucket);
      },
    });
    await uploadImage(source, optionsWith({ sizeBytes: 300_000 }), {
      ...storageEnv,
      IMAGES: watched,
    });
    expect(sent).toBe(300_000);
    expect(sentWhenPutBegan).toBeLessThan(10_000);
  });

  test.each([
    ['image/png', 'image/png', 'png'],
    ['image/jpeg', 'image/jpeg', 'jpg'],
    ['image/webp', 'image/webp', 'webp'],
    ['Image/GIF; charset=binary', 'image/gif', 'gif'],
    [' image/avif ', 'image/avif', 'avif'],
    ['image/svg+xml', 'image/svg+xml', 'svg'],
    ['image/vnd.microsoft.icon', 'image/vnd.microsoft.icon', 'ico'],
    ['image/x-portable-anymap+more', 'image/x-portable-anymap+more', 'x-portable-anyma'],
  ])('of %s is typed and named by that, whatever its name and bytes', async (said, type, end) => {
    const { r2_path } = await uploadImage(
      imageBytes(500).buffer,
      optionsWith({ filename: 'image.html', contentType: said }),
      storageEnv,
    );
    expect(r2_path.split('.').at(-1)).toBe(end);
    expect((await env.IMAGES.head(r2_path))?.httpMetadata?.contentType).toBe(type);
  });

  test('of the same name at the same instant, a hundred times, gives a hundred objects', async () => {
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        uploadImage(imageBytes(100 + index).buffer, optionsWith(), storageEnv),
      ),
    );
    expect(new Set(results.map(({ r2_path }) => r2_path)).size).toBe(100);
    expect(await keysIn(env.IMAGES)).toHaveLength(100);
    expect(results.map(({ size_bytes }) => size_bytes)).toEqual(
      Array.from({ length: 100 }, (_, index) => 100 + index),
    );
  });

  test('without a project lies under `default`, and without a time is of now', async () => {
    const { now: _, ...options } = optionsWith({ projectId: null });
    const before = Date.now();
    const { r2_path } = await uploadImage(imageBytes().buffer, options, storageEnv);
    const [, milliseconds] = /^production\/default\/(\d+)_/.exec(r2_path) ?? [];
    expect(Number(milliseconds)).toBeGreaterThanOrEqual(before);
    expect(Number(milliseconds)).toBeLessThanOrEqual(Date.now());
  });
});

describe('an upload with an identity', () => {
  const options = optionsWith({ identity: 'job-1' });

  test('that is repeated finds what it has stored, and stores nothing twice', async () => {
    const first = await uploadImage(imageBytes().buffer, options, storageEnv);
    const again = await uploadImage(
      streamOf(imageBytes()),
      { ...options, sizeBytes: 1000 },
      storageEnv,
    );
    expect(again).toEqual(first);
    expect(first.r2_path).toBe('production/content-forge/1767225600000_image-job-1.png');
    expect(await keysIn(env.IMAGES)).toEqual([first.r2_path]);
  });

  test('never overwrites what is there', async () => {
    const { r2_path } = await uploadImage(imageBytes(10).buffer, options, storageEnv);
    await uploadImage(imageBytes(99).buffer, options, storageEnv);
    expect(await storedBytes(r2_path)).toEqual(imageBytes(10));
  });
});

describe('the bucket', () => {
  test('is the own one of the instance if it is bound', async () => {
    const result = await uploadImage(
      imageBytes().buffer,
      optionsWith({ r2Bucket: 'prod-images' }),
      storageEnv,
    );
    expect(result.bucket).toBe('prod-images');
    expect(await keysIn(env.IMAGES_PROD_IMAGES)).toEqual([result.r2_path]);
    expect(await keysIn(env.IMAGES)).toEqual([]);
  });

  test.each(['other-images', 'bucket', 'base-url'])(
    'is the default one if `%s` is not bound to a bucket',
    async (r2Bucket) => {
      const result = await uploadImage(imageBytes().buffer, optionsWith({ r2Bucket }), {
        ...storageEnv,
        IMAGE_BUCKET_NAME: 'shared-images',
      });
      expect(result.bucket).toBe('shared-images');
      expect(await keysIn(env.IMAGES)).toEqual([result.r2_path]);
    },
  );
});

describe('the URL', () => {
  test.each([
    [undefined, `${ORIGIN}/images/`],
    ['', `${ORIGIN}/images/`],
    ['https://cdn.example.com/{bucket}', 'https://cdn.example.com/prod-images/'],
    ['https://pub-0123456789abcdef.r2.dev/', 'https://pub-0123456789abcdef.r2.dev/'],
  ])('with the base %s begins with %s', async (base, start) => {
    const { cdn_url, r2_path } = await uploadImage(
      imageBytes().buffer,
      optionsWith({ r2Bucket: 'prod-images' }),
      { ...storageEnv, ...(base === undefined ? {} : { IMAGE_BASE_URL: base }) },
    );
    expect(cdn_url).toBe(start + r2_path);
  });

  test.each(['cdn.example.com', 'ftp://cdn.example.com', 'https://'])(
    'is not made from %s, and nothing is stored',
    async (base) => {
      const broken = { ...storageEnv, IMAGE_BASE_URL: base };
      await expect(uploadImage(imageBytes().buffer, optionsWith(), broken)).rejects.toThrow(
        'IMAGE_BASE_URL',
      );
      expect(await keysIn(env.IMAGES)).toEqual([]);
    },
  );

  test.each([
    ['my picture (final).jpeg', 'my-picture-final'],
    ['../../etc/passwd', 'passwd'],
    ['..', 'image'],
    ['a\\b\\c.png', 'c'],
    ['', 'image'],
    ['naïve 灯台 🗼.png', 'naive'],
    ['line\nbreak\u0000.png', 'line-break'],
    [`${'long'.repeat(100)}.png`, 'long'.repeat(16)],
    ['50% & more?#.png', '50-more'],
    ['_-hidden-_.png', 'hidden'],
    ['灯台.png', 'image'],
  ])('of a file called %j is made safe', async (filename, stem) => {
    const { cdn_url, r2_path } = await uploadImage(
      imageBytes().buffer,
      optionsWith({ filename, identity: 'x' }),
      storageEnv,
    );
    expect(r2_path).toBe(`production/content-forge/1767225600000_${stem}-x.png`);
    // Nothing in it needs to be encoded.
    expect(new URL(cdn_url).pathname).toBe(`/images/${r2_path}`);
  });
});

describe('what is refused, and leaves no object', () => {
  test.each<
    [string, ArrayBuffer | ReadableStream<Uint8Array>, number | undefined, StorageErrorKind]
  >([
    ['an empty buffer', new ArrayBuffer(0), undefined, 'empty'],
    ['an empty stream', streamOf(new Uint8Array(0)), undefined, 'empty'],
    ['a stream that is said to be empty', streamOf(imageBytes()), 0, 'empty'],
    ['a buffer that is too large', new ArrayBuffer(IMAGE_BYTES_MAX + 1), undefined, 'too_large'],
    [
      'a stream that is said to be too large',
      streamOf(imageBytes()),
      IMAGE_BYTES_MAX + 1,
      'too_large',
    ],
    [
      'a stream with nothing of what was announced',
      streamOf(new Uint8Array(0)),
      5,
      'source_failed',
    ],
    ['a stream that breaks off', streamOf(imageBytes(), { failAt: 500 }), 1000, 'source_failed'],
    [
      'a stream of unknown length that breaks off',
      streamOf(imageBytes(), { failAt: 500 }),
      undefined,
      'source_failed',
    ],
    ['a stream that is shorter than announced', streamOf(imageBytes(900)), 1000, 'source_failed'],
    ['a stream that is longer than announced', streamOf(imageBytes(1100)), 1000, 'source_failed'],
  ])('%s', async (_, data, sizeBytes, kind) => {
    const error = await expectFailure(
      uploadImage(data, optionsWith({ sizeBytes }), storageEnv),
      kind,
    );
    expect(error.message).not.toContain('planted');
  });

  test.each([null, '', 'text/html', 'application/octet-stream', 'image/', 'image', 'x-image/png'])(
    'what is said to be %j, even with the bytes of an image, and it is let go of',
    async (contentType) => {
      let isCancelled = false;
      const stream = new ReadableStream<Uint8Array>({
        pull: (controller) => controller.enqueue(imageBytes()),
        cancel() {
          isCancelled = true;
        },
      });
      const options = optionsWith({ contentType });
      await expectFailure(uploadImage(stream, options, storageEnv), 'not_an_image');
      expect(isCancelled).toBe(true);
    },
  );

  test('a stream of unknown length is not read further than the largest image', async () => {
    const chunk = imageBytes(1024 * 1024);
    let produced = 0;
    let isCancelled = false;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        produced += chunk.byteLength;
        controller.enqueue(chunk);
      },
      cancel() {
        isCancelled = true;
      },
    });
    await expectFailure(uploadImage(endless, optionsWith(), storageEnv), 'too_large');
    expect(produced).toBeLessThan(IMAGE_BYTES_MAX + 4 * 1024 * 1024);
    expect(isCancelled).toBe(true);
  });

  test('metadata that is too large even without the prompt', async () => {
    const metadata = { provider: 'p'.repeat(2100), prompt: 'a lighthouse' };
    await expectFailure(
      uploadImage(imageBytes().buffer, optionsWith({ metadata }), storageEnv),
      'invalid_metadata',
    );
  });
});

describe('a bucket that fails', () => {
  const failing = (put: () => Promise<R2Object | null>) => ({
    ...storageEnv,
    IMAGES: { put, head: () => Promise.resolve(null) } as unknown as R2Bucket,
  });

  test('is a typed error, for a buffer and for a stream', async () => {
    const broken = failing(() => Promise.reject(new Error('put: internal error (10001)')));
    const options = optionsWith({ sizeBytes: 1000 });
    for (const data of [imageBytes().buffer, streamOf(imageBytes())]) {
      const error = await expectFailure(uploadImage(data, options, broken), 'bucket_failed');
      expect(error.message).toBe('the image could not be stored');
    }
  });

  test('or has something at the path already, is no success', async () => {
    const taken = failing(() => Promise.resolve(null));
    await expectFailure(uploadImage(imageBytes().buffer, optionsWith(), taken), 'bucket_failed');
  });
});
