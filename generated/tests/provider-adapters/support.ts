// An adapter in front of the mock Ideogram, on a clock and with time limits that the test moves by hand.
import { ProviderError } from '@/workers/shared/provider-adapters/errors';
import { createAdapter } from '@/workers/shared/provider-adapters/registry';
import type { AdapterOptions } from '@/workers/shared/provider-adapters/types';
import { MOCK_API_KEY, MockIdeogram, type MockIdeogramOptions } from './mock-ideogram';

export const START = new Date('2026-01-31T09:30:00.000Z');
export const PROMPT = 'A ceramic mug on a wooden table';

export class Bench {
  time = START.getTime();
  /** The limits that were asked for, and what ends them. */
  readonly limits: { milliseconds: number; controller: AbortController }[] = [];
  readonly mock: MockIdeogram;

  constructor(options: MockIdeogramOptions = {}) {
    this.mock = new MockIdeogram({
      now: () => new Date(this.time),
      wait: (milliseconds) => {
        this.time += milliseconds;
        return Promise.resolve();
      },
      ...options,
    });
  }

  adapter(options: Partial<AdapterOptions> = {}, provider = 'ideogram') {
    return createAdapter(provider, {
      apiKey: MOCK_API_KEY,
      fetch: this.mock.fetch,
      now: () => new Date(this.time),
      timeout: (milliseconds) => {
        const controller = new AbortController();
        this.limits.push({ milliseconds, controller });
        return controller.signal;
      },
      ...options,
    });
  }

  /** The time of the call that began last is up. */
  endTime(): void {
    this.limits.at(-1)?.controller.abort();
  }
}

/** The error of a call that has to fail with a ProviderError. */
export async function failureOf(call: Promise<unknown>): Promise<ProviderError> {
  const outcome: unknown = await call.catch((error: unknown) => error);
  if (!(outcome instanceof ProviderError)) {
    throw new Error('it did not fail with a ProviderError', { cause: outcome });
  }
  return outcome;
}

/** Lets everything happen that needs no time. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) {
    await Promise.resolve();
  }
  await new Promise((resolve) => setTimeout(resolve, 0));
}
