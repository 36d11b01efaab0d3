// The rules of the circuit breaker as a pure state machine, and the client that Workers put around their calls.
//
// What a successful call costs: one question to the Durable Object before it, and nothing after it. Every call asks, so
// that an open circuit lets none through from any isolate. A success is not worth a message of its own while the circuit
// has no failures: the isolate keeps its time, and takes it along with its next question. Failures carry their times as
// well, so that a success that becomes known late still clears exactly those before it. Only what has a failure to clear,
// or ends a trial, is reported at once.
import type { CircuitBreaker } from './circuit-breaker-object';
import { CircuitOpenError, PlatformError } from './errors';

export interface CircuitSettings {
  /** So many failures in a row open the circuit. */
  failureThreshold: number;
  /** Milliseconds for which an open circuit refuses every call. */
  pauseMs: number;
  /** Milliseconds after which a trial that has not reported back is taken to be lost, and another one may pass. */
  trialMs: number;
}

export const CIRCUIT_SETTINGS: CircuitSettings = {
  failureThreshold: 5,
  pauseMs: 30_000,
  trialMs: 60_000,
};

/** Each change of phase begins a new epoch; a call that began in an earlier one has nothing to say in this one. */
export type Circuit =
  | { phase: 'closed'; epoch: number; failureTimes: readonly number[] }
  | { phase: 'open'; epoch: number; until: number }
  | { phase: 'half-open'; epoch: number; until: number };

export const NEW_CIRCUIT: Circuit = { phase: 'closed', epoch: 0, failureTimes: [] };

/** Whatever a provider answers but a failure is a success here, a 4xx or a 429 too: it is well enough to refuse. */
export type Outcome = 'success' | 'failure';

export type Admission =
  | { allowed: true; epoch: number; isTrial: boolean; failures: number }
  | { allowed: false; retryAfterSeconds: number };

export interface Report {
  epoch: number;
  outcome: Outcome;
  /** When the call ended, by the clock of its isolate. */
  at: number;
}

/** A success at `time` ends the row of the failures before it. */
export function noteSuccess(circuit: Circuit, time: number): Circuit {
  if (circuit.phase !== 'closed' || !circuit.failureTimes.some((failure) => failure < time)) {
    return circuit;
  }
  return { ...circuit, failureTimes: circuit.failureTimes.filter((failure) => failure >= time) };
}

/** May a call pass now? */
export function admit(
  circuit: Circuit,
  settings: CircuitSettings,
  now: number,
): { circuit: Circuit; admission: Admission } {
  if (circuit.phase === 'closed') {
    const failures = circuit.failureTimes.length;
    const { epoch } = circuit;
    return { circuit, admission: { allowed: true, epoch, isTrial: false, failures } };
  }
  if (now < circuit.until) {
    // A trial may be over at any moment; an open circuit certainly is not before its time.
    const waitMs = circuit.phase === 'open' ? circuit.until - now : 1000;
    const retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1000));
    return { circuit, admission: { allowed: false, retryAfterSeconds } };
  }
  const epoch = circuit.epoch + 1;
  return {
    circuit: { phase: 'half-open', epoch, until: now + settings.trialMs },
    admission: { allowed: true, epoch, isTrial: true, failures: 0 },
  };
}

/** The circuit after a call has told how it went. */
export function report(
  circuit: Circuit,
  settings: CircuitSettings,
  { epoch, outcome, at }: Report,
  now: number,
): Circuit {
  if (epoch !== circuit.epoch || circuit.phase === 'open') {
    return circuit;
  }
  if (outcome === 'success') {
    // Failures of the same millisecond were known before this was told, so that it comes behind them.
    return circuit.phase === 'half-open'
      ? { phase: 'closed', epoch: epoch + 1, failureTimes: [] }
      : noteSuccess(circuit, at + 1);
  }
  const failureTimes = circuit.phase === 'closed' ? [...circuit.failureTimes, at] : [];
  return circuit.phase === 'half-open' || failureTimes.length >= settings.failureThreshold
    ? { phase: 'open', epoch: epoch + 1, until: now + settings.pauseMs }
    : { phase: 'closed', epoch, failureTimes };
}

/** Timeouts, 5xx, broken connections: what may be retried, except for a 429, which a healthy provider sends. */
export function isProviderFailure(error: unknown): boolean {
  if (error instanceof CircuitOpenError || typeof error !== 'object' || error === null) {
    return false;
  }
  if (error instanceof PlatformError) {
    return (
      error.code === 'PROVIDER_TIMEOUT' || (error.code === 'PROVIDER_ERROR' && error.retryable)
    );
  }
  const status = 'status' in error ? error.status : undefined;
  return 'retryable' in error && error.retryable === true && status !== 429;
}

export interface CircuitOptions {
  instanceId: string;
  provider: string;
  settings?: Partial<CircuitSettings>;
  /** Which errors speak against the provider. */
  isFailure?: (error: unknown) => boolean;
  /** Told when the breaker itself cannot be reached. */
  onFault?: (error: unknown) => void;
  now?: () => number;
}

export interface CircuitClient {
  /** Makes the call if the circuit lets it pass, else throws a `CircuitOpenError`. */
  execute: <T>(fn: () => Promise<T>) => Promise<T>;
}

export function circuitName(instanceId: string, provider: string): string {
  return `instance:${instanceId}:provider:${provider}`;
}

const REMEMBERED_CIRCUITS_MAX = 500;
/** The times of successes that this isolate has not told yet. Losing one costs nothing but a shorter row of failures. */
const untoldSuccesses = new Map<string, number>();

function rememberSuccess(name: string, time: number): void {
  untoldSuccesses.delete(name);
  untoldSuccesses.set(name, time);
  const oldest = untoldSuccesses.keys().next().value;
  if (untoldSuccesses.size > REMEMBERED_CIRCUITS_MAX && oldest !== undefined) {
    untoldSuccesses.delete(oldest);
  }
}

/**
 * The breaker of one provider of one instance. A breaker that cannot be reached lets calls pass: it is there to protect,
 * and must not become a reason to fail itself.
 */
export function createCircuit(
  namespace: DurableObjectNamespace<CircuitBreaker>,
  options: CircuitOptions,
): CircuitClient {
  const {
    instanceId,
    provider,
    isFailure = isProviderFailure,
    onFault = () => undefined,
    now = Date.now,
  } = options;
  const settings = { ...CIRCUIT_SETTINGS, ...options.settings };
  const name = circuitName(instanceId, provider);

  /** Talks to the object, and takes along the success that it has not heard of. A stub that has failed stays broken. */
  async function message<Result>(
    send: (
      stub: DurableObjectStub<CircuitBreaker>,
      lastSuccessAt: number | null,
    ) => Promise<Result>,
  ): Promise<Result> {
    const lastSuccessAt = untoldSuccesses.get(name) ?? null;
    const result = await send(namespace.get(namespace.idFromName(name)), lastSuccessAt);
    if (untoldSuccesses.get(name) === lastSuccessAt) {
      untoldSuccesses.delete(name);
    }
    return result;
  }

  async function ask(): Promise<Admission> {
    try {
      return await message<Admission>(
        async (stub, lastSuccessAt) => await stub.ask(settings, lastSuccessAt),
      );
    } catch (error) {
      onFault(error);
      // No epoch has this number, so that nothing is made of a report of this call.
      return { allowed: true, epoch: -1, isTrial: false, failures: 0 };
    }
  }

  async function tell(epoch: number, outcome: Outcome): Promise<void> {
    const told = { epoch, outcome, at: now() };
    try {
      await message((stub, lastSuccessAt) => stub.tell(settings, told, lastSuccessAt));
    } catch (error) {
      onFault(error);
    }
  }

  /** At once only where it changes something: in a row of failures, and at the end of a trial. */
  async function noteAnswer({ epoch, isTrial, failures }: Admission & { allowed: true }) {
    if (!isTrial && failures === 0) {
      rememberSuccess(name, now());
      return;
    }
    // Waited for: the caller's own next question must not find the trial still under way, and be refused.
    await tell(epoch, 'success');
  }

  return {
    async execute(fn) {
      const admission = await ask();
      if (!admission.allowed) {
        throw new CircuitOpenError(provider, admission.retryAfterSeconds);
      }
      let result: Awaited<ReturnType<typeof fn>>;
      try {
        result = await fn();
      } catch (error) {
        if (isFailure(error)) {
          // Waited for: whoever calls again at once must find it counted.
          await tell(admission.epoch, 'failure');
        } else {
          await noteAnswer(admission);
        }
        throw error;
      }
      await noteAnswer(admission);
      return result;
    },
  };
}
