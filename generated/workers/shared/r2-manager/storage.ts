// Stores images in R2: the bucket is chosen, a path made that nothing else has, and the image passed on while it comes in.
// Either the whole image is stored or nothing is.
import { extensionOf, imageTypeOf } from './format';
import { customMetadataOf } from './metadata';
import { chooseBucket, imagePath, imageUrl, NO_PROJECT } from './paths';
import { openSource, type Source } from './source';
import { type StorageEnv, StorageError, type StorageOptions, type UploadResult } from './types';

export { isImagePath } from './paths';
export { serveImage } from './serve';
export { StorageError } from './types';

/** Does not overwrite: what is there already stays. */
const UNLESS_IT_EXISTS: R2Conditional = { etagDoesNotMatch: '*' };

/** Null if there is something at this path. */
async function put(
  bucket: R2Bucket,
  path: string,
  source: Source,
  options: R2PutOptions,
): Promise<R2Object | null> {
  try {
    return await bucket.put(path, source.start(), { ...options, onlyIf: UNLESS_IT_EXISTS });
  } catch (error) {
    // A source that breaks off breaks the upload, too, and is then the cause to be told.
    throw source.failure() ?? new StorageError('bucket_failed', { cause: error });
  }
}

/** Stores an image and gives back where it lies. Rejects with a `StorageError`, in which case nothing was stored. */
export async function uploadImage(
  imageData: ArrayBuffer | ReadableStream<Uint8Array>,
  options: StorageOptions,
  env: StorageEnv,
): Promise<UploadResult> {
  const {
    instanceId,
    projectId = null,
    filename,
    contentType,
    metadata,
    r2Bucket,
    workerOrigin,
    sizeBytes,
    now = new Date(),
    identity,
  } = options;
  const imageType = imageTypeOf(contentType);
  if (imageType === null) {
    if (imageData instanceof ReadableStream) {
      await imageData.cancel().catch(() => undefined);
    }
    throw new StorageError('not_an_image');
  }
  const source = await openSource(imageData, sizeBytes);
  try {
    const customMetadata = customMetadataOf({
      generation_timestamp: now.toISOString(),
      ...metadata,
      instance_id: instanceId,
      project_id: projectId ?? NO_PROJECT,
    });
    const { bucket, name: bucketName } = chooseBucket(env, r2Bucket);
    const path = imagePath({
      instanceId,
      projectId,
      filename,
      extension: extensionOf(imageType),
      now,
      identity: identity ?? crypto.randomUUID().replaceAll('-', ''),
    });
    const cdn_url = imageUrl(env, { path, bucketName, workerOrigin });
    const stored =
      (await put(bucket, path, source, {
        httpMetadata: {
          contentType: imageType,
          cacheControl: 'public, max-age=31536000, immutable',
        },
        customMetadata,
      })) ?? (identity === undefined ? null : await bucket.head(path));
    if (stored === null) {
      throw new StorageError('bucket_failed', { cause: new Error('the path is taken') });
    }
    return { r2_path: path, cdn_url, bucket: bucketName, size_bytes: stored.size };
  } finally {
    await source.close();
  }
}
