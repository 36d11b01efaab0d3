// The one error that calls end in: what went wrong, in words for people, with the request id that finds it in the logs.

export type FailureKind =
  /** The service answered with an error of its contract. */
  | 'refused'
  /** No answer: no connection, or not allowed by CORS. */
  | 'unreachable'
  | 'timeout'
  /** An answer that is not the contract's. */
  | 'unexpected';

interface FailureDetails {
  status?: number;
  code?: string;
  requestId?: string | null;
}

export class ApiFailure extends Error {
  override readonly name = 'ApiFailure';
  readonly status: number | null;
  readonly code: string | null;
  readonly requestId: string | null;

  constructor(
    readonly kind: FailureKind,
    message: string,
    { status, code, requestId }: FailureDetails = {},
  ) {
    super(message);
    this.status = status ?? null;
    this.code = code ?? null;
    this.requestId = requestId ?? null;
  }
}

const HEADLINES: Record<string, string> = {
  AUTH_FAILED: 'Log in again',
  FORBIDDEN: 'Not allowed',
  NOT_FOUND: 'Not found',
  CONFLICT: 'This conflicts with what is there',
  VALIDATION_FAILED: 'The service did not accept this',
  INTERNAL_ERROR: 'The service failed',
};

export function headlineOf(failure: ApiFailure): string {
  switch (failure.kind) {
    case 'unreachable':
      return 'The Config Service cannot be reached';
    case 'timeout':
      return 'The Config Service took too long';
    case 'unexpected':
      return 'An unexpected answer';
    case 'refused':
      return HEADLINES[failure.code ?? ''] ?? 'The request failed';
  }
}

/** Anything that was thrown, as a failure that can be shown. */
export function asFailure(thrown: unknown): ApiFailure {
  if (thrown instanceof ApiFailure) {
    return thrown;
  }
  return new ApiFailure('unexpected', thrown instanceof Error ? thrown.message : String(thrown));
}
