// The calls to a provider: submitted with retries through the circuit breaker, and looked after until the image is there.
import { createCircuit } from '@/workers/shared/error-handling/circuit-breaker';
import { ProviderTimeoutError } from '@/workers/shared/error-handling/errors';
import { type RetryOptions, withRetry } from '@/workers/shared/error-handling/retry';
import type { ProviderAdapter } from '@/workers/shared/provider-adapters/base-adapter';
import { createAdapter } from '@/workers/shared/provider-adapters/registry';
import { type RequestContext, report } from './context';
import type { Order } from './generation';

const ATTEMPTS_MAX = 3;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 1_000;
const FIRST_LOOK_AFTER_MS = 250;
const LONGEST_LOOK_AFTER_MS = 5_000;

/** How far a generation has come: what is left when its time is over. */
export interface Progress {
  /** Calls made to submit; undefined as long as it was not tried. */
  attempts: number | undefined;
  providerJobId: string | null;
}

export function adapterFor(context: RequestContext, order: Order): ProviderAdapter {
  return createAdapter(order.generation.provider, {
    apiKey: order.apiKey,
    fetch: context.fetch,
  });
}

/** For calls that may be made again, until `deadlineMs`. */
export function retryOptions(context: RequestContext, deadlineMs: number): RetryOptions {
  return {
    maxAttempts: ATTEMPTS_MAX,
    initialDelay: FIRST_PAUSE_MS,
    maxDelay: LONGEST_PAUSE_MS,
    timeLimit: deadlineMs - Date.now(),
    pause: context.pause,
    random: context.random,
  };
}

/** Gives the provider's id of the job. */
export async function submit(
  context: RequestContext,
  adapter: ProviderAdapter,
  { generation }: Order,
  progress: Progress,
  deadlineMs: number,
): Promise<string> {
  const { instanceId, provider, model, prompt } = generation;
  const request = adapter.formatRequest(prompt, { model });
  const circuit = createCircuit(context.env.CIRCUIT_BREAKER, {
    instanceId,
    provider,
    executionContext: context.executionContext,
    onFault: (error) => report(context, error),
  });
  let attempts = 0;
  progress.attempts = attempts;
  return await withRetry(
    () =>
      circuit.execute(() => {
        attempts += 1;
        progress.attempts = attempts;
        return adapter.submitJob(request);
      }),
    retryOptions(context, deadlineMs),
  );
}

/** Looks at the job with growing pauses until it is complete; throws if it failed, or is not complete in time. */
export async function awaitCompletion(
  context: RequestContext,
  adapter: ProviderAdapter,
  providerJobId: string,
  deadlineMs: number,
): Promise<void> {
  for (
    let pauseMs = FIRST_LOOK_AFTER_MS;
    ;
    pauseMs = Math.min(pauseMs * 1.5, LONGEST_LOOK_AFTER_MS)
  ) {
    const status = await withRetry(
      () => adapter.checkStatus(providerJobId),
      retryOptions(context, deadlineMs),
    );
    if (status.status === 'completed') {
      return;
    }
    if (status.status === 'failed') {
      throw status.error;
    }
    if (Date.now() + pauseMs >= deadlineMs) {
      throw new ProviderTimeoutError('the provider did not finish in time');
    }
    await context.pause(pauseMs);
  }
}
