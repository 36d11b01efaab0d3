// The circuit breaker: its rules, and one circuit shared by many isolates through the real Durable Object.
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  type Admission,
  admit,
  CIRCUIT_SETTINGS,
  type Circuit,
  type CircuitClient,
  circuitName,
  createCircuit,
  isProviderFailure,
  NEW_CIRCUIT,
  noteSuccess,
  type Outcome,
  report,
} from '@/workers/shared/error-handling/circuit-breaker';
import { CircuitBreaker } from '@/workers/shared/error-handling/circuit-breaker-object';
import {
  CircuitOpenError,
  ProviderError,
  ProviderRejectedError,
  ProviderTimeoutError,
  RateLimitedError,
  ValidationError,
} from '@/workers/shared/error-handling/errors';
import { withRetry } from '@/workers/shared/error-handling/retry';
import { circuits, fakeClock, START_MS } from './support';

const { failureThreshold, pauseMs, trialMs } = CIRCUIT_SETTINGS;
const down = () => new ProviderError('down', { retryable: true });

describe('rules', () => {
  /** A circuit that is asked and told; time is passed in. */
  function setUp() {
    let circuit: Circuit = NEW_CIRCUIT;
    const ask = (now: number): Admission => {
      const asked = admit(circuit, CIRCUIT_SETTINGS, now);
      circuit = asked.circuit;
      return asked.admission;
    };
    const tell = (epoch: number, outcome: Outcome, now: number, at = now) => {
      circuit = report(circuit, CIRCUIT_SETTINGS, { epoch, outcome, at }, now);
    };
    /** Calls at this time, one after the other, all with this outcome. */
    const call = (count: number, outcome: Outcome, now: number) => {
      for (let index = 0; index < count; index += 1) {
        const admission = ask(now);
        if (admission.allowed) {
          tell(admission.epoch, outcome, now);
        }
      }
    };
    return { ask, tell, call, phase: () => circuit.phase, current: () => circuit };
  }

  test('it is closed at first, and stays so while calls succeed', () => {
    const circuit = setUp();
    circuit.call(20, 'success', 0);
    expect(circuit.ask(0)).toEqual({ allowed: true, epoch: 0, isTrial: false, failures: 0 });
    expect(circuit.current()).toBe(NEW_CIRCUIT);
  });

  test('the fifth failure in a row opens it, not the fourth', () => {
    const circuit = setUp();
    circuit.call(failureThreshold - 1, 'failure', 0);
    expect(circuit.phase()).toBe('closed');
    circuit.call(1, 'failure', 0);
    expect(circuit.phase()).toBe('open');
  });

  test('a success in between begins the row anew', () => {
    const circuit = setUp();
    circuit.call(4, 'failure', 0);
    circuit.call(1, 'success', 0);
    circuit.call(4, 'failure', 0);
    expect(circuit.phase()).toBe('closed');
    circuit.call(1, 'failure', 0);
    expect(circuit.phase()).toBe('open');
  });

  test('a success that is told late clears the failures before it, and no others', () => {
    const circuit = setUp();
    for (const at of [10, 20, 30, 40]) {
      circuit.tell(0, 'failure', at);
    }
    circuit.tell(0, 'success', 50, 25);
    expect(circuit.ask(50)).toMatchObject({ failures: 2 });
    circuit.call(2, 'failure', 60);
    expect(circuit.phase()).toBe('closed');
    circuit.call(1, 'failure', 60);
    expect(circuit.phase()).toBe('open');
  });

  test('within one millisecond a success that was told clears, and one that was not does not', () => {
    const circuit = setUp();
    circuit.call(4, 'failure', 10);
    expect(noteSuccess(circuit.current(), 10)).toBe(circuit.current());
    expect(noteSuccess(circuit.current(), 11)).toMatchObject({ failureTimes: [] });
    circuit.call(1, 'success', 10);
    expect(circuit.ask(10)).toMatchObject({ failures: 0 });
  });

  test('open, it refuses until the pause is over, and says how long', () => {
    const circuit = setUp();
    circuit.call(5, 'failure', 0);
    expect(circuit.ask(0)).toEqual({ allowed: false, retryAfterSeconds: 30 });
    expect(circuit.ask(pauseMs - 1001)).toEqual({ allowed: false, retryAfterSeconds: 2 });
    expect(circuit.ask(pauseMs - 1)).toEqual({ allowed: false, retryAfterSeconds: 1 });
    expect(circuit.phase()).toBe('open');
  });

  test('after the pause exactly one trial passes', () => {
    const circuit = setUp();
    circuit.call(5, 'failure', 0);
    const admissions = Array.from({ length: 20 }, () => circuit.ask(pauseMs));
    expect(admissions.filter(({ allowed }) => allowed)).toEqual([
      { allowed: true, epoch: 2, isTrial: true, failures: 0 },
    ]);
    expect(admissions[1]).toEqual({ allowed: false, retryAfterSeconds: 1 });
    expect(circuit.phase()).toBe('half-open');
  });

  test('a trial that succeeds closes it, with a row that begins anew', () => {
    const circuit = setUp();
    circuit.call(5, 'failure', 0);
    circuit.call(1, 'success', pauseMs);
    expect(circuit.phase()).toBe('closed');
    circuit.call(4, 'failure', pauseMs);
    expect(circuit.phase()).toBe('closed');
  });

  test('a trial that fails opens it for a whole pause', () => {
    const circuit = setUp();
    circuit.call(5, 'failure', 0);
    circuit.call(1, 'failure', pauseMs);
    expect(circuit.phase()).toBe('open');
    expect(circuit.ask(2 * pauseMs - 1)).toMatchObject({ allowed: false });
    expect(circuit.ask(2 * pauseMs)).toMatchObject({ allowed: true, isTrial: true });
  });

  test('a trial that never reports back makes room for another one', () => {
    const circuit = setUp();
    circuit.call(5, 'failure', 0);
    const lost = circuit.ask(pauseMs);
    expect(circuit.ask(pauseMs + trialMs - 1)).toMatchObject({ allowed: false });
    const second = circuit.ask(pauseMs + trialMs);
    expect(second).toMatchObject({ allowed: true, isTrial: true });
    // Late after all: it has nothing to say any more.
    circuit.tell(lost.allowed ? lost.epoch : -1, 'failure', pauseMs + trialMs + 1);
    expect(circuit.phase()).toBe('half-open');
    circuit.tell(second.allowed ? second.epoch : -1, 'success', pauseMs + trialMs + 2);
    expect(circuit.phase()).toBe('closed');
  });

  test('calls that began before it opened neither prolong nor close it', () => {
    const circuit = setUp();
    circuit.call(5, 'failure', 0);
    const opened = circuit.current();
    circuit.tell(0, 'failure', 10);
    circuit.tell(0, 'success', 10);
    circuit.tell(1, 'success', 10);
    expect(circuit.current()).toBe(opened);
    circuit.call(1, 'success', pauseMs);
    for (let index = 0; index < 10; index += 1) {
      circuit.tell(0, 'failure', pauseMs);
    }
    expect(circuit.phase()).toBe('closed');
    expect(circuit.ask(pauseMs)).toMatchObject({ failures: 0 });
  });
});

describe('which errors speak against the provider', () => {
  test.each([
    ['a timeout', new ProviderTimeoutError(), true],
    ['a 5xx or a broken connection', down(), true],
    [
      'an error of another component marked as retryable',
      Object.assign(new Error('x'), { retryable: true }),
      true,
    ],
    ['its 401, 402, 403', new ProviderError('no funds'), false],
    ['its refusal', new ProviderRejectedError('unsafe'), false],
    ['its 429', new RateLimitedError('busy', { retryable: true }), false],
    [
      'a 429 of another component',
      Object.assign(new Error('x'), { retryable: true, status: 429 }),
      false,
    ],
    ['what the caller did', new ValidationError('prompt'), false],
    ['an open circuit', new CircuitOpenError('ideogram', 3), false],
    ['an error that says nothing', new Error('x'), false],
    ['no error', null, false],
  ])('%s: %s → %s', (_, error, expected) => {
    expect(isProviderFailure(error)).toBe(expected);
  });
});

describe('shared by isolates', () => {
  let count = 0;
  let provider = '';

  beforeEach(() => {
    vi.useFakeTimers({ now: START_MS, toFake: ['Date'] });
    count += 1;
    provider = `provider-${count}`;
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** The client of one isolate. */
  const isolate = (options: Partial<Parameters<typeof createCircuit>[1]> = {}): CircuitClient =>
    createCircuit(circuits, { instanceId: 'production', provider, ...options });

  /** The namespace, with a count of the calls that go to the object. */
  function countingNamespace() {
    const messages: string[] = [];
    const stubOf = (stub: DurableObjectStub<CircuitBreaker>) => ({
      ask: (...values: Parameters<CircuitBreaker['ask']>) => {
        messages.push('ask');
        return stub.ask(...values);
      },
      tell: (...values: Parameters<CircuitBreaker['tell']>) => {
        messages.push('tell');
        return stub.tell(...values);
      },
    });
    const namespace = {
      idFromName: (name: string) => circuits.idFromName(name),
      get: (id: DurableObjectId) => stubOf(circuits.get(id)),
    } as unknown as DurableObjectNamespace<CircuitBreaker>;
    return { namespace, messages };
  }

  async function fail(circuit: CircuitClient, times = 1, error: Error = down()): Promise<void> {
    for (let index = 0; index < times; index += 1) {
      await expect(circuit.execute(() => Promise.reject(error))).rejects.toBe(error);
    }
  }

  const succeed = (circuit: CircuitClient) => circuit.execute(() => Promise.resolve('image'));

  async function refused(circuit: CircuitClient): Promise<CircuitOpenError> {
    let wasCalled = false;
    const error = await circuit
      .execute(() => {
        wasCalled = true;
        return Promise.resolve();
      })
      .then(
        () => expect.unreachable(),
        (thrown: unknown) => thrown,
      );
    expect(wasCalled).toBe(false);
    expect(error).toBeInstanceOf(CircuitOpenError);
    return error as CircuitOpenError;
  }

  test('failures of several isolates add up, and all of them are refused', async () => {
    await fail(isolate(), 3);
    await fail(isolate(), 2);
    const error = await refused(isolate());
    expect(error).toMatchObject({
      code: 'PROVIDER_ERROR',
      status: 502,
      retryable: false,
      retryAfterSeconds: 30,
    });
    await refused(isolate());
  });

  test('another provider and another instance have circuits of their own', async () => {
    await fail(isolate(), 5);
    expect(await succeed(isolate({ provider: `${provider}-other` }))).toBe('image');
    expect(await succeed(isolate({ instanceId: 'development' }))).toBe('image');
  });

  test('after the pause one trial passes among 20 at once, from 20 isolates', async () => {
    await fail(isolate(), 5);
    vi.setSystemTime(START_MS + 30_000);
    let calls = 0;
    let refusals = 0;
    // The trial goes on until all others have asked, or one that asks late would find the circuit closed again.
    let end: () => void = () => undefined;
    const othersAreRefused = new Promise<void>((resolve) => {
      end = resolve;
    });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, async () => {
        try {
          await isolate().execute(async () => {
            calls += 1;
            await othersAreRefused;
          });
        } catch (error) {
          refusals += 1;
          if (refusals === 19) {
            end();
          }
          throw error;
        }
      }),
    );
    expect(calls).toBe(1);
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(19);
    expect(await succeed(isolate())).toBe('image');
  });

  test('a trial that fails opens it again', async () => {
    await fail(isolate(), 5);
    vi.setSystemTime(START_MS + 30_000);
    await fail(isolate());
    expect((await refused(isolate())).retryAfterSeconds).toBe(30);
  });

  test('a lost trial does not block it for ever', async () => {
    await fail(isolate(), 5);
    vi.setSystemTime(START_MS + 30_000);
    await new Promise<void>((begun) => {
      isolate()
        .execute(() => {
          begun();
          return new Promise<never>(() => undefined);
        })
        .catch(() => undefined);
    });
    await refused(isolate());
    vi.setSystemTime(START_MS + 90_000);
    expect(await succeed(isolate())).toBe('image');
    expect(await succeed(isolate())).toBe('image');
  });

  test('a trial that ends with a 429, or any other answer, closes it', async () => {
    await fail(isolate(), 5);
    vi.setSystemTime(START_MS + 30_000);
    await fail(isolate(), 1, new RateLimitedError('busy', { retryable: true }));
    expect(await Promise.all([succeed(isolate()), succeed(isolate())])).toEqual(['image', 'image']);
  });

  test('what the caller caused, and a 429, never open it', async () => {
    await fail(isolate(), 10, new ProviderError('its 400'));
    await fail(isolate(), 10, new RateLimitedError('busy', { retryable: true }));
    expect(await succeed(isolate())).toBe('image');
  });

  test('they end the row of failures', async () => {
    await fail(isolate(), 4);
    await fail(isolate(), 1, new ProviderError('its 404'));
    await fail(isolate(), 4);
    expect(await succeed(isolate())).toBe('image');
  });

  test('the number of failures and the pause are configurable', async () => {
    const settings = { failureThreshold: 2, pauseMs: 5000 };
    await fail(isolate({ settings }), 2);
    expect((await refused(isolate({ settings }))).retryAfterSeconds).toBe(5);
    vi.setSystemTime(START_MS + 5000);
    expect(await succeed(isolate({ settings }))).toBe('image');
  });

  test('it outlives a restart of the object', async () => {
    await fail(isolate(), 5);
    const stub = circuits.get(circuits.idFromName(circuitName('production', provider)));
    // What a new object finds in the storage.
    const admission = await runInDurableObject(stub, (_, state) =>
      new CircuitBreaker(state, env).ask(CIRCUIT_SETTINGS, null),
    );
    expect(admission).toEqual({ allowed: false, retryAfterSeconds: 30 });
  });

  test('a call that succeeds costs one message, a failed one two', async () => {
    const { namespace, messages } = countingNamespace();
    const circuit = createCircuit(namespace, { instanceId: 'production', provider });
    await succeed(circuit);
    await succeed(circuit);
    expect(messages).toEqual(['ask', 'ask']);
    await fail(circuit);
    expect(messages.slice(2)).toEqual(['ask', 'tell']);
    // There is a failure to clear, so that this one is told at once.
    await succeed(circuit);
    expect(messages.slice(4)).toEqual(['ask', 'tell']);
    await succeed(circuit);
    expect(messages.slice(6)).toEqual(['ask']);
  });

  test('a provider that is well costs no write', async () => {
    await succeed(isolate());
    await succeed(isolate());
    const stub = circuits.get(circuits.idFromName(circuitName('production', provider)));
    const rows = await runInDurableObject(stub, (_, state) =>
      state.storage.sql.exec('SELECT * FROM circuit').toArray(),
    );
    expect(rows).toEqual([]);
  });

  test('a success that was not told at once counts with the next question', async () => {
    const circuit = isolate();
    // Six calls begin while there is no failure; four fail, one succeeds untold, the last one fails.
    const calls: { end: () => void; ended: Promise<unknown> }[] = [];
    for (const succeeds of [false, false, false, false, true, false]) {
      await new Promise<void>((begun) => {
        const call = { end: () => undefined, ended: Promise.resolve<unknown>(undefined) };
        call.ended = circuit
          .execute(
            () =>
              new Promise<void>((resolve, reject) => {
                call.end = () => void (succeeds ? resolve() : reject(down()));
                begun();
              }),
          )
          .catch(() => undefined);
        calls.push(call);
      });
    }
    for (const [index, { end, ended }] of calls.entries()) {
      vi.setSystemTime(START_MS + 10 * index);
      end();
      await ended;
    }
    // Five failures, but not in a row.
    expect(await succeed(isolate())).toBe('image');
  });

  test('what an isolate remembers of successes is bounded', async () => {
    const told: (number | null)[] = [];
    const namespace = {
      idFromName: (name: string) => name,
      get: () => ({
        ask: (_: unknown, lastSuccessAt: number | null) => {
          told.push(lastSuccessAt);
          return Promise.resolve({ allowed: true, epoch: 0, isTrial: false, failures: 0 });
        },
      }),
    } as unknown as DurableObjectNamespace<CircuitBreaker>;
    const circuitOf = (number: number) =>
      createCircuit(namespace, { instanceId: `bound-${number}`, provider });
    await succeed(circuitOf(0));
    await succeed(circuitOf(0));
    expect(told).toEqual([null, START_MS]);
    for (let number = 1; number <= 500; number += 1) {
      await succeed(circuitOf(number));
    }
    await succeed(circuitOf(0));
    await succeed(circuitOf(500));
    expect(told.slice(-2)).toEqual([null, START_MS]);
  });

  test('a trial that went well is known before the same caller asks again', async () => {
    await fail(isolate(), failureThreshold);
    vi.setSystemTime(START_MS + pauseMs);
    const circuit = isolate();
    await succeed(circuit);
    await succeed(circuit);
  });

  test('a breaker that cannot be reached lets calls pass, and says so', async () => {
    const faults: unknown[] = [];
    const broken = {
      idFromName: () => ({}),
      get: () => ({
        ask: () => Promise.reject(new Error('no object')),
        tell: () => Promise.reject(new Error('no object')),
      }),
    } as unknown as DurableObjectNamespace<CircuitBreaker>;
    const options = { instanceId: 'production', provider, onFault: (e: unknown) => faults.push(e) };
    const circuit = createCircuit(broken, options);
    expect(await succeed(circuit)).toBe('image');
    await fail(circuit);
    expect(faults).toHaveLength(3);
  });

  test('with retries around it, an open circuit ends them without another call', async () => {
    const clock = fakeClock();
    let calls = 0;
    const attempt = () =>
      withRetry(
        () =>
          isolate().execute(() => {
            calls += 1;
            return Promise.reject(down());
          }),
        { maxAttempts: 3, initialDelay: 250, maxDelay: 2000, ...clock },
      );
    await expect(attempt()).rejects.toThrow('down');
    await expect(attempt()).rejects.toBeInstanceOf(CircuitOpenError);
    expect(calls).toBe(5);
    await expect(attempt()).rejects.toBeInstanceOf(CircuitOpenError);
    expect(calls).toBe(5);
  });
});
