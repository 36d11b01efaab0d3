// What every provider's adapter is and does. A new provider is one class like this and one line in registry.ts.
import { type ProviderErrorDetails, readRetryAfter, UnknownNameError } from './errors';
import { type CallContext, failure, send } from './http';
import { receiveImage } from './image-download';
import {
  type AdapterOptions,
  DEFAULT_MAX_IMAGE_BYTES,
  DEFAULT_TIME_LIMITS,
  type GenerationOptions,
  type ImageResult,
  type JobStatus,
  type ProviderAnswer,
  type ProviderImage,
  type ProviderRequest,
  type TimeLimits,
} from './types';

/** What the registry knows of an adapter before there is one. */
export interface AdapterClass {
  new (options: AdapterOptions): ProviderAdapter;
  readonly provider: string;
  readonly models: readonly string[];
  readonly defaultModel: string;
}

/**
 * One provider, with one key. Every failure of a call is a ProviderError, and nothing is tried twice: that is the caller's decision.
 *
 * A job id holds all that is needed to go on with the job, so that another isolate can do it. Only the result of a provider that answers at
 * once lives in the adapter that submitted the job: take it from there.
 */
export abstract class ProviderAdapter {
  abstract readonly provider: string;
  protected readonly apiKey: string;
  protected readonly fetch: (request: Request) => Promise<Response>;
  protected readonly now: () => Date;
  protected readonly maxImageBytes: number;
  private readonly timeout: (milliseconds: number) => AbortSignal;
  private readonly timeLimits: TimeLimits;
  private readonly signal: AbortSignal | undefined;

  constructor(options: AdapterOptions) {
    this.apiKey = options.apiKey;
    this.fetch = options.fetch ?? ((request) => fetch(request));
    this.now = options.now ?? (() => new Date());
    this.maxImageBytes = options.maxImageBytes ?? DEFAULT_MAX_IMAGE_BYTES;
    this.timeout = options.timeout ?? ((milliseconds) => AbortSignal.timeout(milliseconds));
    this.timeLimits = { ...DEFAULT_TIME_LIMITS, ...options.timeLimits };
    this.signal = options.signal;
  }

  /** The request in the provider's own form. Throws for options that the model cannot heed. */
  abstract formatRequest(prompt: string, options?: GenerationOptions): ProviderRequest;

  /** Gives the id of the job, which may be complete already. */
  abstract submitJob(request: ProviderRequest, apiKey?: string): Promise<string>;

  abstract checkStatus(jobId: string): Promise<JobStatus>;

  /** The result of a completed job; throws for one that failed or is pending. */
  abstract fetchResult(jobId: string): Promise<ImageResult>;

  /** What a successful answer with an image says. Throws if it is none, or an unsafe one. */
  abstract parseResponse(answer: ProviderAnswer): ImageResult;

  /** Whether the answer to the submission was the result: then there is nothing to wait for, and nobody but this adapter has it. */
  answeredAtOnce(_jobId: string): boolean {
    return false;
  }

  /** Whether parts of an image can be had before all of it is there. */
  supportsStreaming(): boolean {
    return false;
  }

  /** The image behind a result, if it is one. Soon: links expire. No key is sent along. */
  async fetchImage(result: ImageResult): Promise<ProviderImage> {
    const context = this.call('imageMs');
    const request = new Request(this.imageUrl(result), { signal: context.signal });
    const response = await send(context, request);
    if (!response.ok || response.body === null) {
      response.body?.cancel().catch(() => {});
      throw this.imageFailure(response);
    }
    return await receiveImage(
      context,
      { headers: response.headers, body: response.body },
      { maxBytes: this.maxImageBytes, dimensions: result.metadata.dimensions },
    );
  }

  protected error(details: Omit<ProviderErrorDetails, 'provider'>) {
    return failure({ provider: this.provider, jobId: details.jobId }, details);
  }

  /** The context of one call, whose time begins now. */
  protected call(limit: keyof TimeLimits, jobId?: string): CallContext {
    const timeout = this.timeout(this.timeLimits[limit]);
    return {
      provider: this.provider,
      jobId,
      fetch: this.fetch,
      now: this.now,
      signal: this.signal ? AbortSignal.any([this.signal, timeout]) : timeout,
    };
  }

  protected knownModel(name: string | undefined, adapter: AdapterClass): string {
    const model = name ?? adapter.defaultModel;
    if (!adapter.models.includes(model)) {
      throw new UnknownNameError('model', model, adapter.models);
    }
    return model;
  }

  /** Only `https:`, unless a provider says otherwise: a link comes from outside, and could lead anywhere. */
  protected imageUrl(result: ImageResult): string {
    if (!URL.canParse(result.image_url) || !result.image_url.startsWith('https://')) {
      throw this.error({ kind: 'image_unavailable', message: 'the link to the image is no https' });
    }
    return result.image_url;
  }

  /** Where images lie, a 429 says nothing about the provider's limits: it is there to be tried again, like a 5xx. */
  private imageFailure({ status, headers }: Response) {
    return this.error({
      kind: status === 429 || status >= 500 ? 'server_error' : 'image_unavailable',
      message: `the link to the image answered ${status}`,
      status,
      retryAfterSeconds: readRetryAfter(headers.get('Retry-After'), this.now()),
    });
  }
}
