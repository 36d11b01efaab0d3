// Calls that are made again when they fail: exponential pauses with full jitter, `Retry-After`, limits of time. The
// circuit breaker, which keeps a failing provider from being called at all, is exported from here as well.
import { ProviderTimeoutError } from './errors';
import { type Pause, pause as realPause } from './pause';

export * from './circuit-breaker';
export type { Pause } from './pause';

export interface RetryOptions {
  /** How often the function is called at most, the first call included. */
  maxAttempts: number;
  /** Milliseconds: the bound of the first pause, which doubles from pause to pause. */
  initialDelay: number;
  /** Milliseconds: no bound of a pause grows beyond this. */
  maxDelay: number;
  /** Without it, what is marked with `retryable: true` is tried again. */
  shouldRetry?: (error: unknown) => boolean;
  /** Milliseconds for all of it, from now. A pause that would not end in time is not begun. */
  timeLimit?: number;
  /** Ends it, also during a pause. */
  signal?: AbortSignal;
  now?: () => number;
  pause?: Pause;
  /** A number from 0 up to, but not including, 1. */
  random?: () => number;
}

/** A caller that says nothing does not wait for longer than a whole request may take. */
const TIME_LIMIT_MS = 60_000;

export function isRetryable(error: unknown): boolean {
  return (
    typeof error === 'object' && error !== null && 'retryable' in error && error.retryable === true
  );
}

/** Milliseconds from `now` that a `Retry-After` asks for, given as seconds or as a date; null if it says neither. */
export function parseRetryAfter(value: unknown, now: number): number | null {
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? null : Math.max(0, value.getTime() - now);
  }
  if (typeof value === 'number') {
    return Number.isFinite(value) && value >= 0 ? value * 1000 : null;
  }
  if (typeof value !== 'string') {
    return null;
  }
  const text = value.trim();
  if (/^\d+(\.\d+)?$/.test(text)) {
    return Number(text) * 1000;
  }
  // Only what looks like a date: the parser would make one of many other texts.
  const date = /^[A-Za-z]{3,9},? |^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}

/** What the error says about waiting: `retryAfterSeconds`, or a `Retry-After` as it was received in `retryAfter`. */
function retryAfterOf(error: unknown, now: number): number | null {
  if (typeof error !== 'object' || error === null) {
    return null;
  }
  const value =
    'retryAfterSeconds' in error && error.retryAfterSeconds !== undefined
      ? error.retryAfterSeconds
      : 'retryAfter' in error
        ? error.retryAfter
        : null;
  return parseRetryAfter(value, now);
}

/** Leaves the number of calls that were made on the error that is thrown. */
function noteAttempts(error: unknown, attempts: number): void {
  if (error instanceof Error && Object.isExtensible(error)) {
    Object.defineProperty(error, 'attempts', { value: attempts, configurable: true });
  }
}

/** How many calls `withRetry` had made when it gave up with this error. */
export function attemptsOf(error: unknown): number | undefined {
  const noted = error instanceof Error && 'attempts' in error ? error.attempts : undefined;
  return typeof noted === 'number' ? noted : undefined;
}

/** Calls `fn` (with the number of the attempt, from 1) until it succeeds or there is no use in another call. */
export async function withRetry<T>(
  fn: (attempt: number) => Promise<T>,
  options: RetryOptions,
): Promise<T> {
  const {
    maxAttempts,
    initialDelay,
    maxDelay,
    shouldRetry = isRetryable,
    timeLimit = TIME_LIMIT_MS,
    signal,
    now = Date.now,
    pause = realPause,
    random = Math.random,
  } = options;
  if (!Number.isInteger(maxAttempts) || maxAttempts < 1) {
    throw new RangeError('maxAttempts must be a whole number from 1');
  }
  const deadline = now() + timeLimit;
  for (let attempt = 1; ; attempt += 1) {
    signal?.throwIfAborted();
    try {
      return await fn(attempt);
    } catch (error) {
      noteAttempts(error, attempt);
      if (attempt >= maxAttempts || signal?.aborted === true || !shouldRetry(error)) {
        throw error;
      }
      const time = now();
      const bound = Math.min(maxDelay, initialDelay * 2 ** (attempt - 1));
      const delay = Math.max(random() * bound, retryAfterOf(error, time) ?? 0);
      if (time + delay > deadline) {
        throw error;
      }
      await pause(delay, signal);
    }
  }
}

export interface TimeoutOptions {
  /** Of the caller: aborting it ends the wait, and aborts the signal that `fn` was given. */
  signal?: AbortSignal;
  pause?: Pause;
  /** What is thrown when time is up. */
  timeoutError?: () => Error;
}

/**
 * Gives `fn` a signal and waits for it at most this long. It ends in time even if `fn` does not heed the signal; what
 * `fn` does afterwards, a rejection included, is nobody's any more.
 */
export async function withTimeout<T>(
  fn: (signal: AbortSignal) => Promise<T>,
  milliseconds: number,
  {
    signal,
    pause = realPause,
    timeoutError = () =>
      new ProviderTimeoutError(undefined, { details: { time_limit_ms: milliseconds } }),
  }: TimeoutOptions = {},
): Promise<T> {
  signal?.throwIfAborted();
  const ending = new AbortController();
  const stopWaiting = new AbortController();
  let breakOff: (reason: unknown) => void = () => undefined;
  const isOver = new Promise<never>((_, reject) => {
    breakOff = (reason) => {
      // In this order: what `fn` makes of its aborted signal must not win over the reason.
      reject(reason);
      ending.abort(reason);
    };
  });
  signal?.addEventListener('abort', () => breakOff(signal.reason), {
    once: true,
    signal: stopWaiting.signal,
  });
  const timer = pause(milliseconds, stopWaiting.signal).then(() => breakOff(timeoutError()));
  const work = Promise.resolve().then(() => fn(ending.signal));
  // Whichever of them comes too late may still reject.
  for (const promise of [isOver, timer, work]) {
    promise.catch(() => undefined);
  }
  try {
    return await Promise.race([isOver, work]);
  } finally {
    stopWaiting.abort();
  }
}
