// What Workers call to ask for admission. The name of the Durable Object, its stub and its failures stay in here.
import type { RateLimiter } from './limiter';
import type { Limits, RefusalReason } from './window';

export type { Limits, RefusalReason } from './window';

/** What the limiter needs of a Worker's bindings. */
export interface RateLimiterEnv {
  RATE_LIMITER: DurableObjectNamespace<RateLimiter>;
}

/** Whose window it is. */
export interface LimitedProvider {
  instanceId: string;
  provider: string;
}

export interface AdmissionRequest extends LimitedProvider {
  /** The provider's entry of the instance's `rate_limits`; undefined if it has none. */
  limits: Limits | undefined;
  /** What the request will use, if it is known before. */
  tokens?: number;
}

export type Admission =
  | { allowed: true; admissionId: number }
  | { allowed: false; retryAfterSeconds: number; reason: RefusalReason };

/** The limiter could not be asked: it says nothing about the limits, and whether to go on is the caller's decision. */
export class RateLimiterUnavailableError extends Error {
  override readonly name = 'RateLimiterUnavailableError';

  constructor(cause: unknown) {
    super('the rate limiter cannot be reached', { cause });
  }
}

/** What is no count is refused here, where the mistake was made. */
function assertCount(name: string, value: number | undefined): void {
  if (value !== undefined && (!Number.isSafeInteger(value) || value < 0)) {
    throw new RangeError(`${name} must be a whole number from 0`);
  }
}

function stubOf(env: RateLimiterEnv, { instanceId, provider }: LimitedProvider) {
  const id = env.RATE_LIMITER.idFromName(`instance:${instanceId}:provider:${provider}`);
  return env.RATE_LIMITER.get(id);
}

/** Asks for admission of one request, and counts it if it is admitted. */
export async function requestAdmission(
  env: RateLimiterEnv,
  { instanceId, provider, limits, tokens }: AdmissionRequest,
): Promise<Admission> {
  assertCount('rpm', limits?.rpm);
  assertCount('tpm', limits?.tpm);
  assertCount('tokens', tokens);
  try {
    return await stubOf(env, { instanceId, provider }).checkLimit({
      rpm: limits?.rpm,
      tpm: limits?.tpm,
      tokens,
    });
  } catch (error) {
    throw new RateLimiterUnavailableError(error);
  }
}

/** Corrects what an admitted request has used, once it is known. */
export async function settleAdmission(
  env: RateLimiterEnv,
  {
    instanceId,
    provider,
    admissionId,
    tokensUsed,
  }: LimitedProvider & { admissionId: number; tokensUsed: number },
): Promise<void> {
  assertCount('tokensUsed', tokensUsed);
  try {
    await stubOf(env, { instanceId, provider }).recordRequest(admissionId, tokensUsed);
  } catch (error) {
    throw new RateLimiterUnavailableError(error);
  }
}

/** The answer to a request that was refused, ready to be sent. */
export function rateLimitedResponse(
  { retryAfterSeconds }: { retryAfterSeconds: number },
  requestId: string,
): Response {
  return Response.json(
    {
      error: `the limit of this instance is reached; try again in ${retryAfterSeconds} s`,
      code: 'RATE_LIMITED',
      request_id: requestId,
    },
    {
      status: 429,
      headers: {
        'Content-Type': 'application/json; charset=utf-8',
        'Cache-Control': 'no-store',
        'X-Content-Type-Options': 'nosniff',
        'X-Request-ID': requestId,
        'Retry-After': String(retryAfterSeconds),
      },
    },
  );
}
