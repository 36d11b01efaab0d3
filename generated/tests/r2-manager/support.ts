// Images, streams and buckets for the tests of the storage manager.
import { env } from 'cloudflare:workers';
import type { StorageEnv, StorageOptions } from '@/workers/shared/r2-manager/types';

export const START = new Date('2026-01-01T00:00:00.000Z');
export const ORIGIN = 'https://image-gen.example.com';

export const storageEnv: StorageEnv & { IMAGES_PROD_IMAGES: R2Bucket } = {
  IMAGES: env.IMAGES,
  IMAGES_PROD_IMAGES: env.IMAGES_PROD_IMAGES,
};

const PNG_SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Bytes that begin like an image, and go on in a way that shows when some are missing. */
export function imageBytes(sizeBytes = 1000): Uint8Array<ArrayBuffer> {
  const bytes = Uint8Array.from({ length: sizeBytes }, (_, index) => (index * 31 + 7) % 251);
  bytes.set(PNG_SIGNATURE.slice(0, sizeBytes));
  return bytes;
}

/** The bytes in chunks of this size; `failAt` breaks the stream off after so many bytes. */
export function streamOf(
  bytes: Uint8Array,
  { chunkBytes = 7, failAt }: { chunkBytes?: number; failAt?: number } = {},
): ReadableStream<Uint8Array> {
  let offset = 0;
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      if (failAt !== undefined && offset >= failAt) {
        controller.error(new Error('connection lost to https://example.com/?signature=planted'));
      } else if (offset >= bytes.byteLength) {
        controller.close();
      } else {
        controller.enqueue(bytes.slice(offset, offset + chunkBytes));
        offset += chunkBytes;
      }
    },
  });
}

export function optionsWith(overrides: Partial<StorageOptions> = {}): StorageOptions {
  return {
    instanceId: 'production',
    projectId: 'content-forge',
    filename: 'image.png',
    contentType: 'image/png',
    metadata: { provider: 'ideogram', model: 'ideogram-v2', prompt: 'a lighthouse' },
    r2Bucket: null,
    workerOrigin: ORIGIN,
    now: START,
    ...overrides,
  };
}

export async function keysIn(bucket: R2Bucket): Promise<string[]> {
  return (await bucket.list()).objects.map(({ key }) => key);
}

export async function emptyBuckets(): Promise<void> {
  for (const bucket of [env.IMAGES, env.IMAGES_PROD_IMAGES]) {
    const keys = await keysIn(bucket);
    if (keys.length > 0) {
      await bucket.delete(keys);
    }
  }
}
