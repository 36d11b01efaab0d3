// What the storage manager is given, what it gives back, and how it fails.

/** The largest image that is stored. */
export const IMAGE_BYTES_MAX = 20 * 1024 * 1024;

/** What the storage manager needs of a Worker's bindings: a bucket for all, and any number of buckets for instances. */
export interface StorageEnv {
  /** The default bucket. Buckets of instances are bound as `IMAGES_<NAME>`: `IMAGES_PROD_IMAGES` for `prod-images`. */
  IMAGES: R2Bucket;
  /**
   * Where stored images are served: `https://cdn.example.com/{bucket}` or `https://pub-0123.r2.dev`. `{bucket}` stands
   * for the name of the bucket. Empty or unset: the Worker serves them itself, under `/images/`.
   */
  IMAGE_BASE_URL?: string;
  /** The name of the bucket that `IMAGES` is bound to, for `{bucket}`; `default` if it is not told. */
  IMAGE_BUCKET_NAME?: string;
}

export interface StorageOptions {
  instanceId: string;
  projectId?: string | null | undefined;
  /** As the caller would like to see it; it is made safe, and its extension fits the content's type. */
  filename: string;
  /** What the source says it is: by this it is an image or none, and so it will be served. */
  contentType: string | null;
  /** Kept with the object; see metadata.ts for the names that are known. */
  metadata: Readonly<Record<string, string>>;
  /** The `r2_bucket` of the instance's configuration. */
  r2Bucket: string | null;
  /** The origin of this Worker, where it serves images itself. */
  workerOrigin: string;
  /** How long a stream will be, if its source has told. */
  sizeBytes?: number | undefined;
  now?: Date;
  /**
   * What makes the path unique; by default something random. A caller that may have to repeat an upload gives its own
   * identity and time: the path is then the same again, and an image that is there already counts as this upload.
   */
  identity?: string;
}

export interface UploadResult {
  r2_path: string;
  cdn_url: string;
  /** The name of the bucket that was chosen. */
  bucket: string;
  size_bytes: number;
}

export type StorageErrorKind =
  | 'empty'
  | 'too_large'
  | 'not_an_image'
  | 'source_failed'
  | 'invalid_metadata'
  | 'bucket_failed';

const MESSAGES: Record<StorageErrorKind, string> = {
  empty: 'the image is empty',
  too_large: `the image has more than ${IMAGE_BYTES_MAX} bytes`,
  not_an_image: 'what was received is not an image',
  source_failed: 'the image could not be read to its end',
  invalid_metadata: 'the metadata of the image is too large',
  bucket_failed: 'the image could not be stored',
};

/** Nothing was stored. The message holds neither a key nor the address of the source; the cause may. */
export class StorageError extends Error {
  override readonly name = 'StorageError';

  constructor(
    readonly kind: StorageErrorKind,
    options?: ErrorOptions,
  ) {
    super(MESSAGES[kind], options);
  }
}
