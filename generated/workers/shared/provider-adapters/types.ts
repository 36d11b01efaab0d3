// What goes into an adapter and what comes out of it, the same for every provider.
import type { ProviderError } from './errors';

export interface ImageResult {
  /** Where the provider keeps the image, for a while: never hand it to a caller, store the image at once. */
  image_url: string;
  provider: string;
  model: string;
  metadata: {
    /** As in `1024x1024`; null if the provider does not say, in which case the image does. */
    dimensions: string | null;
    /** As in `png`. */
    format: string;
    /** From the first submission until the result was first seen. */
    generation_time_ms: number;
  };
  /** For the rate limit and `usage_logs`. */
  usage: {
    /** 0 where the provider counts none. */
    tokens: number;
    /** What the provider says that it charged, else its list price. */
    cost_microdollars: number;
  };
}

/** The image itself. Reading `body` fails with a ProviderError when it is too large, too slow, or breaks off. */
export interface ProviderImage {
  body: ReadableStream<Uint8Array>;
  /** As the provider says: `image/png`, or any other type of image. */
  contentType: string;
  /** Null if the provider did not say. */
  sizeBytes: number | null;
  /** What the result says, else what the image itself does: `1024x1024`. */
  dimensions: string;
}

/** Width to height. */
export const ASPECT_RATIOS = ['1:1', '16:9', '9:16', '4:3', '3:4', '3:2', '2:3'] as const;
export type AspectRatio = (typeof ASPECT_RATIOS)[number];

/** What can be asked of any provider. An adapter refuses what its model cannot do, and ignores nothing in silence. */
export interface GenerationOptions {
  /** Default: the provider's own. */
  model?: string | undefined;
  aspectRatio?: AspectRatio | undefined;
  /** 0 to 2147483647. */
  seed?: number | undefined;
  negativePrompt?: string | undefined;
}

export type Json =
  | string
  | number
  | boolean
  | null
  | readonly Json[]
  | { readonly [name: string]: Json };

/** A request in the provider's own form. Plain data: it can be stored, and sent later. It holds no key. */
export interface ProviderRequest {
  provider: string;
  model: string;
  /** Below the provider's base URL. */
  path: string;
  body: { kind: 'json'; value: Json } | { kind: 'form'; fields: Readonly<Record<string, string>> };
  /** When it was submitted first, if this is not the first time: the image has been waited for since then. */
  firstSubmittedAtMs?: number | undefined;
}

/** What a provider answered, with what it does not say itself. */
export interface ProviderAnswer {
  model: string;
  jobId: string | null;
  submittedAtMs: number;
  body: unknown;
}

export type JobStatus =
  | { status: 'pending' }
  | { status: 'completed' }
  /** `reason` is a code, for logs; `error` is what `fetchResult` would throw. */
  | { status: 'failed'; reason: string; error: ProviderError };

/** How long each kind of call may take, until the last byte of its answer. */
export interface TimeLimits {
  submitMs: number;
  statusMs: number;
  imageMs: number;
}

export const DEFAULT_TIME_LIMITS: Readonly<TimeLimits> = {
  // The older families answer only when the image is ready.
  submitMs: 60_000,
  statusMs: 10_000,
  imageMs: 30_000,
};

export const DEFAULT_MAX_IMAGE_BYTES = 20 * 1024 * 1024;

/** What an adapter is made with. It lives as long as one request, or one step of a job: nothing of it is kept in a module. */
export interface AdapterOptions {
  apiKey: string;
  /** Where the provider's API is. Default: the provider's public one. */
  baseUrl?: string | undefined;
  fetch?: ((request: Request) => Promise<Response>) | undefined;
  now?: (() => Date) | undefined;
  /** Default: `AbortSignal.timeout`. */
  timeout?: ((milliseconds: number) => AbortSignal) | undefined;
  timeLimits?: Partial<TimeLimits> | undefined;
  /** Of the caller: once it fires, every call ends as a timeout, those under way as well. */
  signal?: AbortSignal | undefined;
  maxImageBytes?: number | undefined;
}
