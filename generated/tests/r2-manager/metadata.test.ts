// Metadata of images: R2's bound of 2 KB, and text of every script within it.
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  customMetadataOf,
  METADATA_BYTES_MAX,
  readImageMetadata,
  truncateToBytes,
} from '@/workers/shared/r2-manager/metadata';
import { uploadImage } from '@/workers/shared/r2-manager/storage';
import { StorageError } from '@/workers/shared/r2-manager/types';
import { emptyBuckets, imageBytes, optionsWith, storageEnv } from './support';

const FAMILY = '👩‍👩‍👧';

function sizeOf(metadata: Record<string, string>): number {
  const text = Object.entries(metadata).flat().join('');
  return new TextEncoder().encode(text).byteLength;
}

beforeEach(emptyBuckets);

describe('truncating', () => {
  test.each([
    ['short', 10, 'short'],
    ['exactly10!', 10, 'exactly10!'],
    ['eleven chars', 11, 'eleven char'],
    ['äöü', 5, 'äö'],
    ['灯台', 5, '灯'],
    ['🗼🗼', 7, '🗼'],
    [`a${FAMILY}`, 10, 'a'],
    ['e\u0301e\u0301', 5, 'e\u0301'],
    ['灯台', 2, ''],
  ])('%j to %i bytes gives %j', (text, bytesMax, expected) => {
    expect(truncateToBytes(text, bytesMax)).toBe(expected);
  });
});

describe('metadata', () => {
  test.each([
    ['ASCII', 'lighthouse '.repeat(1000)],
    ['Japanese', '灯台の絵。'.repeat(1000)],
    ['emoji', FAMILY.repeat(500)],
  ])('with a long prompt in %s fills the bound and stays readable', async (_, prompt) => {
    const metadata = { provider: 'ideogram', model: 'ideogram-v2', prompt };
    const { r2_path } = await uploadImage(
      imageBytes().buffer,
      optionsWith({ metadata }),
      storageEnv,
    );
    const object = await env.IMAGES.head(r2_path);
    const size = sizeOf(object?.customMetadata ?? {});
    expect(size).toBeLessThanOrEqual(METADATA_BYTES_MAX);
    expect(size).toBeGreaterThan(METADATA_BYTES_MAX - 20);
    const read = object === null ? null : readImageMetadata(object);
    expect(prompt.startsWith(read?.prompt ?? 'nothing')).toBe(true);
    expect(read).toMatchObject({ instance_id: 'production', model: 'ideogram-v2' });
  });

  test('comes back as it was: any script, quotes, and characters that are none replaced', async () => {
    const prompt = 'Ein "Leuchtturm" — 灯台 🗼\nнад морем\t\ud800!';
    const { r2_path } = await uploadImage(
      imageBytes().buffer,
      optionsWith({ metadata: { prompt } }),
      storageEnv,
    );
    const object = await env.IMAGES.head(r2_path);
    expect(object && readImageMetadata(object)).toMatchObject({
      prompt: 'Ein "Leuchtturm" — 灯台 🗼\nнад морем\t\uFFFD!',
      provider: null,
    });
  });

  test('cannot claim another instance or project than the one it is stored for', async () => {
    const { r2_path } = await uploadImage(
      imageBytes().buffer,
      optionsWith({ metadata: { instance_id: 'other', project_id: 'other' }, projectId: null }),
      storageEnv,
    );
    expect((await env.IMAGES.head(r2_path))?.customMetadata).toMatchObject({
      instance_id: 'production',
      project_id: 'default',
    });
  });

  test('leaves the prompt out if the rest needs all the room, and fails if it needs more', () => {
    const others = { model: 'm'.repeat(METADATA_BYTES_MAX - 'model'.length) };
    expect(customMetadataOf({ ...others, prompt: 'p' })).toEqual(others);
    expect(() => customMetadataOf({ model: `${others.model}m` })).toThrow(StorageError);
  });

  test('of an object that was stored by other hands is all null', async () => {
    const object = await env.IMAGES.put('production/default/1_x.png', 'x');
    expect(object && Object.values(readImageMetadata(object))).toEqual(Array(6).fill(null));
  });
});
