// The calls to a provider: each through the circuit breaker, submitted with retries, and looked after until the image is there.
import { type CircuitClient, createCircuit } from '@/workers/shared/error-handling/circuit-breaker';
import { ProviderTimeoutError } from '@/workers/shared/error-handling/errors';
import { isRetryable, type RetryOptions, withRetry } from '@/workers/shared/error-handling/retry';
import type { ProviderAdapter } from '@/workers/shared/provider-adapters/base-adapter';
import { ProviderError as AdapterError } from '@/workers/shared/provider-adapters/errors';
import { createAdapter } from '@/workers/shared/provider-adapters/registry';
import type { JobStatus } from '@/workers/shared/provider-adapters/types';
import { type RequestContext, report } from './context';
import type { Order } from './generation';

const ATTEMPTS_MAX = 3;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 1_000;
const FIRST_LOOK_AFTER_MS = 250;
const LONGEST_LOOK_AFTER_MS = 5_000;

/** How far a generation has come: what is left when its time is over. */
export interface Progress {
  /** Calls made to submit. */
  attempts: number;
  /** The job that somebody else can go on with, if there is one. */
  providerJobId: string | null;
}

/** The time of a request, or of one look at a job. */
export interface Time {
  deadlineMs: number;
  /** Fires at the deadline. */
  signal: AbortSignal;
}

/** A provider for one request: its adapter, and the circuit that its calls go through. */
export interface Provider {
  adapter: ProviderAdapter;
  circuit: CircuitClient;
}

export function providerFor(context: RequestContext, order: Order, time: Time): Provider {
  const { instanceId, provider } = order.generation;
  // One call may take all of the time that is left: the signal ends it.
  const leftMs = Math.max(1, time.deadlineMs - Date.now());
  return {
    adapter: createAdapter(provider, {
      apiKey: order.apiKey,
      fetch: context.fetch,
      signal: time.signal,
      timeLimits: { submitMs: leftMs, statusMs: leftMs, imageMs: leftMs },
    }),
    circuit: createCircuit(context.env.CIRCUIT_BREAKER, {
      instanceId,
      provider,
      onFault: (error) => report(context, error),
    }),
  };
}

/** For calls that may be made again, until the deadline. */
export function retryOptions(context: RequestContext, { deadlineMs }: Time): RetryOptions {
  return {
    maxAttempts: ATTEMPTS_MAX,
    initialDelay: FIRST_PAUSE_MS,
    maxDelay: LONGEST_PAUSE_MS,
    timeLimit: deadlineMs - Date.now(),
    pause: context.pause,
    random: context.random,
  };
}

/** For calls that cost nothing to make again, as often as there is time for. */
export function patientRetryOptions(context: RequestContext, time: Time): RetryOptions {
  return {
    ...retryOptions(context, time),
    maxAttempts: Number.MAX_SAFE_INTEGER,
    maxDelay: LONGEST_LOOK_AFTER_MS,
    signal: time.signal,
  };
}

/** What hangs is not called again: its fate is unknown, and a second image might be paid twice. */
function mayBeSubmittedAgain(error: unknown): boolean {
  return isRetryable(error) && !(error instanceof AdapterError && error.kind === 'timeout');
}

/** Gives the provider's id of the job. */
export async function submit(
  context: RequestContext,
  { adapter, circuit }: Provider,
  { generation }: Order,
  progress: Progress,
  time: Time,
): Promise<string> {
  const { model, prompt } = generation;
  const request = adapter.formatRequest(prompt, { model });
  let firstSubmittedAtMs: number | undefined;
  return await withRetry(
    () =>
      circuit.execute(() => {
        progress.attempts += 1;
        firstSubmittedAtMs ??= Date.now();
        return adapter.submitJob({ ...request, firstSubmittedAtMs });
      }),
    { ...retryOptions(context, time), shouldRetry: mayBeSubmittedAgain },
  );
}

export async function look({ adapter, circuit }: Provider, id: string): Promise<JobStatus> {
  return await circuit.execute(() => adapter.checkStatus(id));
}

function retryAfterMs(error: unknown): number {
  return error instanceof AdapterError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
}

/**
 * Looks at the job at growing distances until it is complete. A look that fails for the moment is one at a job that is not
 * ready: it is never submitted again.
 */
export async function awaitCompletion(
  context: RequestContext,
  provider: Provider,
  providerJobId: string,
  { deadlineMs, signal }: Time,
): Promise<void> {
  for (
    let pauseMs = FIRST_LOOK_AFTER_MS;
    ;
    pauseMs = Math.min(pauseMs * 1.5, LONGEST_LOOK_AFTER_MS)
  ) {
    let askedToWaitMs = 0;
    signal.throwIfAborted();
    try {
      const status = await look(provider, providerJobId);
      if (status.status === 'completed') {
        return;
      }
      if (status.status === 'failed') {
        throw status.error;
      }
    } catch (error) {
      if (!isRetryable(error)) {
        throw error;
      }
      askedToWaitMs = retryAfterMs(error);
    }
    const waitMs = Math.max(pauseMs, askedToWaitMs);
    if (Date.now() + waitMs >= deadlineMs) {
      throw new ProviderTimeoutError('the provider did not finish in time');
    }
    await context.pause(waitMs);
  }
}
