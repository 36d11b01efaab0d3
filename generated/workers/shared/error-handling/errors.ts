// The errors that callers are told about: their codes, a class for each kind, and the one form of the answer.

import { redactText } from '@/infrastructure/config-service/security/redaction';
import type { JsonValue } from '@/infrastructure/database/types';

/** Every code of the contract and its status. */
export const STATUS_OF_CODE = {
  VALIDATION_FAILED: 400,
  AUTH_FAILED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  CONFLICT: 409,
  PAYLOAD_TOO_LARGE: 413,
  PROVIDER_REJECTED: 422,
  RATE_LIMITED: 429,
  INTERNAL_ERROR: 500,
  PROVIDER_ERROR: 502,
  CONFIG_UNAVAILABLE: 503,
  PROVIDER_TIMEOUT: 504,
} as const;

export type ErrorCode = keyof typeof STATUS_OF_CODE;

/** The codes as constants: `ERROR_CODES.RATE_LIMITED`. */
export const ERROR_CODES = Object.fromEntries(
  Object.keys(STATUS_OF_CODE).map((code) => [code, code]),
) as { readonly [Code in ErrorCode]: Code };

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(STATUS_OF_CODE, value);
}

/** All that a caller ever learns about a fault of ours. */
export const NEUTRAL_MESSAGE = 'something went wrong on our side';

export interface PlatformErrorOptions {
  cause?: unknown;
  /** Whether the same call may succeed if it is made again. */
  retryable?: boolean;
  /** How long to wait before that, if it is known. */
  retryAfterSeconds?: number | undefined;
  /** For the log only. */
  details?: Readonly<Record<string, unknown>>;
  /** Fields of the answer beyond the three of every error, such as `job_id`. */
  answerFields?: Readonly<Record<string, JsonValue>>;
  headers?: Readonly<Record<string, string>>;
}

/** The base of all: `message` is for the caller, so it says nothing of the inside. */
export class PlatformError extends Error {
  override readonly name: string = 'PlatformError';
  readonly status: number;
  readonly retryable: boolean;
  readonly retryAfterSeconds: number | undefined;
  readonly details: Readonly<Record<string, unknown>>;
  readonly answerFields: Readonly<Record<string, JsonValue>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    readonly code: ErrorCode,
    message: string,
    options: PlatformErrorOptions = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : {});
    this.status = STATUS_OF_CODE[code];
    this.retryable = options.retryable ?? false;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.details = options.details ?? {};
    this.answerFields = options.answerFields ?? {};
    this.headers = options.headers ?? {};
  }
}

export class ValidationError extends PlatformError {
  override readonly name = 'ValidationError';
  constructor(message: string, options?: PlatformErrorOptions) {
    super('VALIDATION_FAILED', message, options);
  }
}

export class AuthenticationError extends PlatformError {
  override readonly name = 'AuthenticationError';
  constructor(message = 'this API key is not valid', options: PlatformErrorOptions = {}) {
    const headers = { 'WWW-Authenticate': 'Bearer', ...options.headers };
    super('AUTH_FAILED', message, { ...options, headers });
  }
}

export class ForbiddenError extends PlatformError {
  override readonly name = 'ForbiddenError';
  constructor(message: string, options?: PlatformErrorOptions) {
    super('FORBIDDEN', message, options);
  }
}

export class NotFoundError extends PlatformError {
  override readonly name = 'NotFoundError';
  constructor(message: string, options?: PlatformErrorOptions) {
    super('NOT_FOUND', message, options);
  }
}

export class MethodNotAllowedError extends PlatformError {
  override readonly name = 'MethodNotAllowedError';
  constructor(allowed: readonly string[], options: PlatformErrorOptions = {}) {
    const list = allowed.toSorted().join(', ');
    const headers = { Allow: list, ...options.headers };
    super('METHOD_NOT_ALLOWED', `this path allows ${list}`, { ...options, headers });
  }
}

export class ConflictError extends PlatformError {
  override readonly name = 'ConflictError';
  constructor(message: string, options?: PlatformErrorOptions) {
    super('CONFLICT', message, options);
  }
}

export class PayloadTooLargeError extends PlatformError {
  override readonly name = 'PayloadTooLargeError';
  constructor(message: string, options?: PlatformErrorOptions) {
    super('PAYLOAD_TOO_LARGE', message, options);
  }
}

/** The provider will not make this image, however often it is asked. */
export class ProviderRejectedError extends PlatformError {
  override readonly name = 'ProviderRejectedError';
  constructor(message: string, options?: PlatformErrorOptions) {
    super('PROVIDER_REJECTED', message, options);
  }
}

/** A limit was reached: ours, or, marked as retryable, the provider's. */
export class RateLimitedError extends PlatformError {
  override readonly name = 'RateLimitedError';
  constructor(message: string, options?: PlatformErrorOptions) {
    super('RATE_LIMITED', message, options);
  }
}

/** The provider failed. Marked as retryable if another call may succeed: a 5xx, a broken connection, nonsense. */
export class ProviderError extends PlatformError {
  override readonly name: string = 'ProviderError';
  constructor(message: string, options?: PlatformErrorOptions) {
    super('PROVIDER_ERROR', message, options);
  }
}

/** The breaker refused the call; the provider was not asked. */
export class CircuitOpenError extends ProviderError {
  override readonly name = 'CircuitOpenError';
  constructor(provider: string, retryAfterSeconds: number, options: PlatformErrorOptions = {}) {
    super(`${provider} has been failing and is not called at the moment`, {
      ...options,
      retryable: false,
      retryAfterSeconds,
    });
  }
}

/** Not to be tried again unless it is marked: whether the provider has done what it was asked for is unknown. */
export class ProviderTimeoutError extends PlatformError {
  override readonly name = 'ProviderTimeoutError';
  constructor(message = 'the provider did not answer in time', options?: PlatformErrorOptions) {
    super('PROVIDER_TIMEOUT', message, options);
  }
}

export class ConfigUnavailableError extends PlatformError {
  override readonly name = 'ConfigUnavailableError';
  constructor(message: string, options?: PlatformErrorOptions) {
    super('CONFIG_UNAVAILABLE', message, options);
  }
}

/** A fault of ours. What happened stands in `cause` and `details`. */
export class InternalError extends PlatformError {
  override readonly name = 'InternalError';
  constructor(options?: PlatformErrorOptions) {
    super('INTERNAL_ERROR', NEUTRAL_MESSAGE, options);
  }
}

/**
 * Whatever was thrown, as an error of the contract. Errors of earlier components carry a code and the status that goes
 * with it, and their message is meant for callers; everything else is a fault of ours and shows none of its text.
 */
export function toPlatformError(thrown: unknown): PlatformError {
  if (thrown instanceof PlatformError) {
    return thrown;
  }
  if (thrown instanceof Error && 'code' in thrown && 'status' in thrown) {
    const { code, status, message } = thrown;
    if (isErrorCode(code) && code !== 'INTERNAL_ERROR' && STATUS_OF_CODE[code] === status) {
      return new PlatformError(code, message, {
        cause: thrown,
        retryable: 'retryable' in thrown && thrown.retryable === true,
        retryAfterSeconds:
          'retryAfterSeconds' in thrown && typeof thrown.retryAfterSeconds === 'number'
            ? thrown.retryAfterSeconds
            : undefined,
        headers: code === 'AUTH_FAILED' ? { 'WWW-Authenticate': 'Bearer' } : {},
      });
    }
  }
  return new InternalError({ cause: thrown });
}

/** `Retry-After` in whole seconds, at least one. A 429 always has it. */
function retryAfterHeader(error: PlatformError): Record<string, string> {
  const seconds = error.retryAfterSeconds ?? (error.code === 'RATE_LIMITED' ? 1 : undefined);
  if (seconds === undefined || !Number.isFinite(seconds)) {
    return {};
  }
  return { 'Retry-After': String(Math.max(1, Math.ceil(seconds))) };
}

/** The answer to the caller, in the one form of errors. `secrets` are values that it must not contain. */
export function errorResponse(
  thrown: unknown,
  requestId: string,
  secrets: readonly string[] = [],
): Response {
  const error = toPlatformError(thrown);
  return Response.json(
    {
      error: redactText(error.message, secrets),
      code: error.code,
      ...error.answerFields,
      request_id: requestId,
    },
    {
      status: error.status,
      headers: {
        ...retryAfterHeader(error),
        ...error.headers,
        'Content-Type': 'application/json; charset=utf-8',
        'Cache-Control': 'no-store',
        'X-Content-Type-Options': 'nosniff',
        'X-Request-ID': requestId,
      },
    },
  );
}
