// Calls made again: how often, after which pauses, and when not; and the limit of time.
import { describe, expect, test } from 'vitest';
import {
  ProviderError,
  ProviderTimeoutError,
  RateLimitedError,
} from '@/workers/shared/error-handling/errors';
import { pause } from '@/workers/shared/error-handling/pause';
import {
  attemptsOf,
  parseRetryAfter,
  type RetryOptions,
  withRetry,
  withTimeout,
} from '@/workers/shared/error-handling/retry';
import { fakeClock, START_MS } from './support';

const OPTIONS = { maxAttempts: 3, initialDelay: 250, maxDelay: 2000 };

/** Fails this often, then succeeds; counts its calls. */
function failing(times: number, error: unknown = new ProviderError('down', { retryable: true })) {
  const calls: number[] = [];
  const fn = (attempt: number) => {
    calls.push(attempt);
    return calls.length <= times ? Promise.reject(error) : Promise.resolve('image');
  };
  return { fn, calls };
}

function setUp(options: Partial<RetryOptions> = {}) {
  const clock = fakeClock();
  return { clock, options: { ...OPTIONS, random: () => 0.999_999, ...clock, ...options } };
}

async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => expect.unreachable(),
    (error: unknown) => error,
  );
}

describe('number of calls', () => {
  test('a success at once is one call without a pause', async () => {
    const { clock, options } = setUp();
    const { fn, calls } = failing(0);
    expect(await withRetry(fn, options)).toBe('image');
    expect(calls).toEqual([1]);
    expect(clock.pauses).toEqual([]);
  });

  test('what fails twice succeeds with the third call', async () => {
    const { options } = setUp();
    const { fn, calls } = failing(2);
    expect(await withRetry(fn, options)).toBe('image');
    expect(calls).toEqual([1, 2, 3]);
  });

  test('maxAttempts counts the first call; the last error is thrown, with the number of calls', async () => {
    const { clock, options } = setUp();
    const errors = [1, 2, 3, 4].map((n) => new ProviderError(`failure ${n}`, { retryable: true }));
    let calls = 0;
    const error = await rejectionOf(
      withRetry(() => {
        calls += 1;
        return Promise.reject(errors[calls - 1]);
      }, options),
    );
    expect(calls).toBe(3);
    expect(error).toBe(errors[2]);
    expect(error).toMatchObject({ attempts: 3 });
    expect(attemptsOf(error)).toBe(3);
    expect(clock.pauses).toHaveLength(2);
  });

  test('what is no error, or frozen, is thrown as it is', async () => {
    const { options } = setUp({ shouldRetry: () => true });
    expect(await rejectionOf(withRetry(failing(9, 'text').fn, options))).toBe('text');
    const frozen = Object.freeze(new Error('frozen'));
    expect(await rejectionOf(withRetry(failing(9, frozen).fn, options))).toBe(frozen);
    expect(attemptsOf(frozen)).toBeUndefined();
  });

  test.each([0, -1, 1.5, Number.NaN])('maxAttempts %d is a mistake', async (maxAttempts) => {
    const { fn, calls } = failing(0);
    await expect(withRetry(fn, { ...OPTIONS, maxAttempts })).rejects.toThrow(RangeError);
    expect(calls).toEqual([]);
  });
});

describe('which errors', () => {
  test.each([
    ['an error that says nothing', new Error('x')],
    ['a ProviderError that is not marked', new ProviderError('its 402')],
    [
      'an error marked with something else than true',
      Object.assign(new Error('x'), { retryable: 'yes' }),
    ],
    ['null', null],
  ])('%s is not tried again', async (_, error) => {
    const { options } = setUp();
    const { fn, calls } = failing(1, error);
    expect(await rejectionOf(withRetry(fn, options))).toBe(error);
    expect(calls).toEqual([1]);
  });

  test('an error of another component is tried again if it is marked', async () => {
    const { options } = setUp();
    const { fn, calls } = failing(1, Object.assign(new Error('x'), { retryable: true }));
    expect(await withRetry(fn, options)).toBe('image');
    expect(calls).toEqual([1, 2]);
  });

  test('shouldRetry decides, in both directions', async () => {
    const { options } = setUp();
    const plain = failing(1, new Error('x'));
    await withRetry(plain.fn, { ...options, shouldRetry: (error) => error instanceof Error });
    expect(plain.calls).toEqual([1, 2]);

    const marked = failing(1);
    await rejectionOf(withRetry(marked.fn, { ...options, shouldRetry: () => false }));
    expect(marked.calls).toEqual([1]);
  });
});

describe('pauses', () => {
  test('their bound doubles from the initial delay up to the greatest', async () => {
    const { clock, options } = setUp({ maxAttempts: 6 });
    await rejectionOf(withRetry(failing(9).fn, options));
    expect(clock.pauses.map(Math.round)).toEqual([250, 500, 1000, 2000, 2000]);
  });

  test('they are spread over the whole time from 0 to the bound', async () => {
    const pausesWith = async (random: () => number) => {
      const { clock, options } = setUp({ maxAttempts: 4, random });
      await rejectionOf(withRetry(failing(9).fn, options));
      return clock.pauses;
    };
    expect(await pausesWith(() => 0)).toEqual([0, 0, 0]);
    expect(await pausesWith(() => 0.5)).toEqual([125, 250, 500]);
    for (let round = 0; round < 50; round += 1) {
      const pauses = await pausesWith(Math.random);
      for (const [index, bound] of [250, 500, 1000].entries()) {
        expect(pauses[index]).toBeGreaterThanOrEqual(0);
        expect(pauses[index]).toBeLessThan(bound);
      }
    }
  });

  test.each([
    ['seconds', { retryAfterSeconds: 7 }],
    ['seconds as they were received', { retryAfter: '7' }],
    ['a date', { retryAfter: new Date(START_MS + 7000) }],
    ['a date as it was received', { retryAfter: 'Sun, 01 Mar 2026 10:00:07 GMT' }],
  ])('Retry-After in %s is respected', async (_, fields) => {
    const { clock, options } = setUp({ maxDelay: 1000 });
    const error = Object.assign(new Error('busy'), { retryable: true }, fields);
    await withRetry(failing(1, error).fn, options);
    expect(clock.pauses).toEqual([7000]);
  });

  test('a Retry-After that is shorter than the pause, or means nothing, changes nothing', async () => {
    for (const retryAfter of ['0', 'soon', '', 'May', Number.NaN, new Date(Number.NaN), {}]) {
      const { clock, options } = setUp({ random: () => 0.5 });
      const error = Object.assign(new Error('busy'), { retryable: true, retryAfter });
      await withRetry(failing(1, error).fn, options);
      expect(clock.pauses).toEqual([125]);
    }
  });

  test('a Retry-After beyond the time that is left ends it at once', async () => {
    const error = new RateLimitedError('busy', { retryable: true, retryAfterSeconds: 11 });
    const ended = setUp({ timeLimit: 10_000 });
    const { fn, calls } = failing(1, error);
    expect(await rejectionOf(withRetry(fn, ended.options))).toBe(error);
    expect([calls, ended.clock.pauses]).toEqual([[1], []]);

    const inTime = setUp({ timeLimit: 11_000 });
    expect(await withRetry(failing(1, error).fn, inTime.options)).toBe('image');
  });

  test('without a limit of the caller nobody waits for longer than a minute', async () => {
    const error = new RateLimitedError('busy', { retryable: true, retryAfterSeconds: 61 });
    const { clock, options } = setUp();
    expect(await rejectionOf(withRetry(failing(1, error).fn, options))).toBe(error);
    expect(clock.pauses).toEqual([]);
  });

  test('a date in the past is no time', () => {
    expect(parseRetryAfter('2026-03-01T09:59:00Z', START_MS)).toBe(0);
    expect(parseRetryAfter(new Date(0), START_MS)).toBe(0);
    expect(parseRetryAfter(-5, START_MS)).toBeNull();
  });
});

describe('abort', () => {
  test('before the first call, nothing is called', async () => {
    const { fn, calls } = failing(0);
    const signal = AbortSignal.abort(new Error('gone'));
    await expect(withRetry(fn, { ...OPTIONS, signal })).rejects.toThrow('gone');
    expect(calls).toEqual([]);
  });

  test('during a pause, it ends at once with the reason', async () => {
    const gone = new AbortController();
    const { fn, calls } = failing(1);
    // An hour, on the real clock: only the abort can end it.
    const hour = 3_600_000;
    const running = withRetry(fn, {
      maxAttempts: 2,
      initialDelay: hour,
      maxDelay: hour,
      timeLimit: 2 * hour,
      random: () => 0.999,
      signal: gone.signal,
      pause: (milliseconds, signal) => {
        const paused = pause(milliseconds, signal);
        gone.abort(new Error('the caller has gone'));
        return paused;
      },
    });
    await expect(running).rejects.toThrow('the caller has gone');
    expect(calls).toEqual([1]);
  });

  test('during a call, no further one follows', async () => {
    const gone = new AbortController();
    const { clock, options } = setUp({ signal: gone.signal });
    let calls = 0;
    const running = withRetry(() => {
      calls += 1;
      gone.abort();
      return Promise.reject(new ProviderError('aborted', { retryable: true }));
    }, options);
    await expect(running).rejects.toThrow('aborted');
    expect([calls, clock.pauses]).toEqual([1, []]);
  });
});

describe('limit of time', () => {
  /** A pause that a test ends. */
  function pauseByHand() {
    let end: () => void = () => undefined;
    let isBrokenOff = false;
    return {
      end: () => end(),
      wasBrokenOff: () => isBrokenOff,
      pause: (_: number, signal?: AbortSignal) =>
        new Promise<void>((resolve, reject) => {
          end = resolve;
          signal?.addEventListener('abort', () => {
            isBrokenOff = true;
            reject(signal.reason);
          });
        }),
    };
  }

  test('what ends in time gives its result, and the timer ends as well', async () => {
    const timer = pauseByHand();
    const result = await withTimeout(() => Promise.resolve('image'), 1000, timer);
    expect(result).toBe('image');
    expect(timer.wasBrokenOff()).toBe(true);
  });

  test('what fails in time gives its own error, also if it throws at once', async () => {
    await expect(
      withTimeout(() => Promise.reject(new Error('its own')), 1000, pauseByHand()),
    ).rejects.toThrow('its own');
    await expect(
      withTimeout(
        () => {
          throw new Error('at once');
        },
        1000,
        pauseByHand(),
      ),
    ).rejects.toThrow('at once');
  });

  test('what is late is a PROVIDER_TIMEOUT, and its signal is aborted', async () => {
    const timer = pauseByHand();
    let given: AbortSignal | undefined;
    const running = withTimeout(
      (signal) => {
        given = signal;
        return new Promise<never>(() => undefined);
      },
      250,
      timer,
    );
    timer.end();
    const error = await rejectionOf(running);
    expect(error).toBeInstanceOf(ProviderTimeoutError);
    expect(error).toMatchObject({
      code: 'PROVIDER_TIMEOUT',
      status: 504,
      retryable: false,
      details: { time_limit_ms: 250 },
    });
    expect(given?.aborted).toBe(true);
    expect(given?.reason).toBe(error);
  });

  test('the timeout wins over what the call makes of its aborted signal', async () => {
    const timer = pauseByHand();
    const running = withTimeout(
      (signal) =>
        new Promise<never>((_, reject) => {
          signal.addEventListener('abort', () => reject(new Error('connection closed')));
        }),
      250,
      timer,
    );
    timer.end();
    expect(await rejectionOf(running)).toBeInstanceOf(ProviderTimeoutError);
  });

  test('a rejection after the limit is nobody’s, and not an unhandled one', async () => {
    const unhandled: unknown[] = [];
    const listen = (event: PromiseRejectionEvent) => {
      event.preventDefault();
      unhandled.push(event.reason);
    };
    addEventListener('unhandledrejection', listen);
    const timer = pauseByHand();
    let rejectLate: (error: Error) => void = () => undefined;
    const running = withTimeout(
      () =>
        new Promise<never>((_, reject) => {
          rejectLate = reject;
        }),
      250,
      timer,
    );
    await Promise.resolve();
    timer.end();
    await rejectionOf(running);
    rejectLate(new Error('too late'));
    // Unhandled rejections are told after the microtasks of the turn: two turns of the real timer are enough.
    await pause(0);
    await pause(0);
    removeEventListener('unhandledrejection', listen);
    expect(unhandled).toEqual([]);
  });

  test('the caller’s abort ends it with its reason', async () => {
    const gone = new AbortController();
    let given: AbortSignal | undefined;
    const running = withTimeout(
      (signal) => {
        given = signal;
        return new Promise<never>(() => undefined);
      },
      250,
      { pause: pauseByHand().pause, signal: gone.signal },
    );
    await Promise.resolve();
    gone.abort(new Error('the caller has gone'));
    await expect(running).rejects.toThrow('the caller has gone');
    expect(given?.aborted).toBe(true);
    await expect(
      withTimeout(() => Promise.resolve(1), 250, { signal: gone.signal }),
    ).rejects.toThrow('the caller has gone');
  });

  test('with the real clock it works as well', async () => {
    await expect(withTimeout(() => new Promise<never>(() => undefined), 1)).rejects.toBeInstanceOf(
      ProviderTimeoutError,
    );
    await expect(pause(1, AbortSignal.abort(new Error('before')))).rejects.toThrow('before');
  });
});
