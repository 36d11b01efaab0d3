// Where an image lies and under which URL it is fetched: the names of objects and buckets, and nothing that reads them.
import { IDENTIFIER } from '@/infrastructure/config-service/http/router';
import type { StorageEnv } from './types';

/** The segment of images that belong to no project. */
export const NO_PROJECT = 'default';

const STEM_CHARACTERS_MAX = 64;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,255}$/;

export interface ChosenBucket {
  bucket: R2Bucket;
  name: string;
}

function isBucket(binding: unknown): binding is R2Bucket {
  return typeof binding === 'object' && binding !== null && 'put' in binding && 'head' in binding;
}

/** The instance's own bucket if this Worker has a binding for it, else the default. */
export function chooseBucket(env: StorageEnv, r2Bucket: string | null): ChosenBucket {
  if (r2Bucket !== null) {
    const binding = `IMAGES_${r2Bucket.toUpperCase().replaceAll('-', '_')}`;
    const bucket: unknown = Reflect.get(env, binding);
    if (isBucket(bucket)) {
      return { bucket, name: r2Bucket };
    }
  }
  return { bucket: env.IMAGES, name: env.IMAGE_BUCKET_NAME || 'default' };
}

/** Every bucket that this Worker stores images in, those of instances first: whoever has an own one uses it. */
export function allBuckets(env: StorageEnv): R2Bucket[] {
  const own = Object.entries(env)
    .filter(([name, binding]) => name.startsWith('IMAGES_') && isBucket(binding))
    .map(([, binding]) => binding as R2Bucket);
  return [...own, env.IMAGES];
}

/** A file name without its directory and extension, made of harmless characters: accents are dropped, the rest replaced. */
function safeStem(filename: string): string {
  const base = filename.normalize('NFKD').split(/[\\/]/).at(-1) ?? '';
  return (
    base
      .replace(/\.[^.]*$/, '')
      .replaceAll(/\p{M}/gu, '')
      .replaceAll(/[^A-Za-z0-9_-]+/g, '-')
      .slice(0, STEM_CHARACTERS_MAX)
      .replaceAll(/^[_-]+|[_-]+$/g, '') || 'image'
  );
}

export interface PathParts {
  instanceId: string;
  projectId: string | null;
  filename: string;
  extension: string;
  now: Date;
  /**
   * Makes the path unique. Images are served to whoever knows their path, so that it should not be guessed either, as a
   * time alone would be.
   */
  identity: string;
}

export function imagePath(parts: PathParts): string {
  const { instanceId, projectId, filename, extension, now, identity } = parts;
  const name = `${now.getTime()}_${safeStem(filename)}-${identity}.${extension}`;
  return [instanceId, projectId ?? NO_PROJECT, name].join('/');
}

/** Whether an image can lie there at all. */
export function isImagePath(path: string): boolean {
  const [instanceId = '', projectId = '', name = '', ...more] = path.split('/');
  return (
    more.length === 0 &&
    IDENTIFIER.test(instanceId) &&
    IDENTIFIER.test(projectId) &&
    NAME.test(name)
  );
}

/** The URL under which an image is served. Rejects a base that is no URL: a wrong one would be noticed much later. */
export function imageUrl(
  env: StorageEnv,
  { path, bucketName, workerOrigin }: { path: string; bucketName: string; workerOrigin: string },
): string {
  const configured = env.IMAGE_BASE_URL?.trim() ?? '';
  const base =
    configured === ''
      ? `${workerOrigin}/images`
      : configured.replaceAll('{bucket}', encodeURIComponent(bucketName));
  if (!/^https?:\/\//.test(base) || !URL.canParse(base)) {
    throw new Error('the variable IMAGE_BASE_URL is not a URL');
  }
  return `${base.replace(/\/+$/, '')}/${path}`;
}
