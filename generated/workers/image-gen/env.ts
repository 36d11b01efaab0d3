// What the image-generation Worker is bound to. Names and kinds stand in wrangler.toml; secrets come from
// `wrangler secret put`.
import type { LookupEnv } from '@/infrastructure/lookup/types';
import type { CircuitBreaker } from '@/workers/shared/error-handling/circuit-breaker-object';
import type { LogBuffer } from '@/workers/shared/logging/log-buffer';
import type { StorageEnv } from '@/workers/shared/r2-manager/types';
import type { RateLimiterEnv } from '@/workers/shared/rate-limiter/client';
import type { GenerationJob } from './generation-job';

export interface ImageGenEnv extends LookupEnv, RateLimiterEnv, StorageEnv {
  CIRCUIT_BREAKER: DurableObjectNamespace<CircuitBreaker>;
  LOG_BUFFER: DurableObjectNamespace<LogBuffer>;
  /** One object for each job and for each `request_id` of a caller. */
  JOBS: DurableObjectNamespace<GenerationJob>;
  /** Comma-separated origins of the browser applications that may call this Worker. */
  ALLOWED_ORIGINS?: string;
  /** The lowest level that is logged: `DEBUG`, `INFO` (the default), `WARN` or `ERROR`. */
  LOG_LEVEL?: string;
  /** Milliseconds that a request may take, after which its image becomes a job. Default: 60000. */
  GENERATION_TIMEOUT_MS?: string;
}

const TIMEOUT_MS = 60_000;
const TIMEOUT_MS_MAX = 10 * 60_000;

export function generationTimeoutMs(env: ImageGenEnv): number {
  const text = env.GENERATION_TIMEOUT_MS?.trim() || String(TIMEOUT_MS);
  const timeoutMs = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (timeoutMs < 1 || timeoutMs > TIMEOUT_MS_MAX) {
    throw new Error('the variable GENERATION_TIMEOUT_MS is not a number of milliseconds');
  }
  return timeoutMs;
}
