// The one way in which a call to a provider fails, and what each kind of failure means for the caller.

/** Whether the same call may succeed when it is made again. */
const RETRYABLE = {
  /** Ours: the provider does not take the request as it is. */
  invalid_request: false,
  /** The provider does not know the key. */
  authentication: false,
  /** No funds, or a limit of the day. */
  payment: false,
  forbidden: false,
  /** No such job. */
  not_found: false,
  too_large: false,
  /** The prompt failed the provider's safety check. */
  rejected: false,
  /** There is an image, and the provider withholds it as unsafe. */
  unsafe_image: false,
  rate_limited: true,
  server_error: true,
  timeout: true,
  connection: true,
  /** Success that is none: no JSON, or without what it has to say. */
  invalid_response: true,
  /** The provider took the job and gave it up. */
  generation_failed: false,
  /** The link to the image has expired, or never was one. */
  image_unavailable: false,
  image_too_large: false,
  not_an_image: false,
} as const;

export type ProviderErrorKind = keyof typeof RETRYABLE;

export interface ProviderErrorDetails {
  provider: string;
  kind: ProviderErrorKind;
  /** Without anything that the provider wrote: it may quote the prompt, or the key. */
  message: string;
  status?: number | undefined;
  retryAfterSeconds?: number | undefined;
  jobId?: string | undefined;
  reason?: string | undefined;
}

export class ProviderError extends Error {
  override readonly name = 'ProviderError';
  readonly provider: string;
  readonly kind: ProviderErrorKind;
  readonly retryable: boolean;
  /** The provider's HTTP status; undefined if it gave no answer. */
  readonly status: number | undefined;
  /** How long to wait before the next attempt, if the provider said so. */
  readonly retryAfterSeconds: number | undefined;
  readonly jobId: string | undefined;
  /** The provider's own code for it, such as `insufficient_funds`. */
  readonly reason: string | undefined;

  constructor(details: ProviderErrorDetails) {
    super(`${details.provider}: ${details.message}`);
    this.provider = details.provider;
    this.kind = details.kind;
    this.retryable = RETRYABLE[details.kind];
    this.status = details.status;
    this.retryAfterSeconds = details.retryAfterSeconds;
    this.jobId = details.jobId;
    this.reason = details.reason;
  }
}

/** A name that no registered provider, or no model of it, has. Nothing was sent. */
export class UnknownNameError extends Error {
  override readonly name = 'UnknownNameError';

  constructor(
    readonly what: 'provider' | 'model',
    readonly unknown: string,
    readonly known: readonly string[],
  ) {
    super(`there is no ${what} "${unknown}"; known are ${known.join(', ')}`);
  }
}

export function kindOfStatus(status: number): ProviderErrorKind {
  switch (status) {
    case 401:
      return 'authentication';
    case 402:
      return 'payment';
    case 403:
      return 'forbidden';
    case 404:
      return 'not_found';
    case 413:
      return 'too_large';
    case 422:
      return 'rejected';
    case 429:
      return 'rate_limited';
    default:
      if (status >= 500) {
        return 'server_error';
      }
      // What is no failure by its status, yet nothing that was asked for, such as a redirect.
      return status >= 400 ? 'invalid_request' : 'invalid_response';
  }
}

/** `Retry-After` is a number of seconds or a date; anything else says nothing. */
export function readRetryAfter(value: string | null, now: Date): number | undefined {
  if (value === null) {
    return undefined;
  }
  if (/^\d{1,9}$/.test(value.trim())) {
    return Number(value);
  }
  // Only dates begin with a letter; `Date.parse` would take much more for one.
  const time = /^[A-Z]/i.test(value.trim()) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? undefined : Math.max(0, Math.ceil((time - now.getTime()) / 1000));
}
