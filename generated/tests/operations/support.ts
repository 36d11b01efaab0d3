// A Worker as the ones to come will be: behind the error middleware, with a logger, calling a provider through retries,
// a limit of time and the circuit breaker.
import {
  createExecutionContext,
  runDurableObjectAlarm,
  waitOnExecutionContext,
} from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { createCircuit } from '@/workers/shared/error-handling/circuit-breaker';
import type { CircuitBreaker } from '@/workers/shared/error-handling/circuit-breaker-object';
import { withErrorHandling } from '@/workers/shared/error-handling/middleware';
import { withRetry, withTimeout } from '@/workers/shared/error-handling/retry';
import type { LogBuffer } from '@/workers/shared/logging/log-buffer';
import { createLogger } from '@/workers/shared/logging/logger';
import { bufferName, type LogEnv } from '@/workers/shared/logging/sink';

/** Alarms ring by the real clock, whatever the tests' clock says: at this time none does unless a test rings it. */
export const START_MS = Date.parse('2099-03-01T10:00:00.000Z');
export const SERVICE_TOKEN = 'planted-service-token-0123456789';

// Sound because vitest.config.ts binds these classes.
const circuits = env.CIRCUIT_BREAKER as DurableObjectNamespace<CircuitBreaker>;
const buffers = env.LOG_BUFFER as DurableObjectNamespace<LogBuffer>;

interface WorkerEnv extends LogEnv {
  SERVICE_TOKEN: string;
}

export interface Answer {
  status: number;
  headers: Headers;
  body: Record<string, unknown>;
}

export interface TestWorker {
  /** Sends a request to an isolate of its own, and waits until all is done that it has put off. */
  send: (requestId?: string) => Promise<Answer>;
  /** Ten seconds later, whatever was logged is in D1. */
  writeLogs: () => Promise<void>;
}

/** `callProvider` is what a request leads to; `instanceId` is whose circuit and buffer it is. */
export function startWorker(
  instanceId: string,
  callProvider: (signal: AbortSignal) => Promise<Response>,
): TestWorker {
  const workerEnv: WorkerEnv = { LOG_BUFFER: buffers, LOG_LEVEL: 'DEBUG', SERVICE_TOKEN };
  const fetch = withErrorHandling<WorkerEnv>(
    async () =>
      await withRetry(
        () =>
          createCircuit(circuits, {
            instanceId,
            provider: 'test-provider',
          }).execute(() => withTimeout(callProvider, 1000)),
        { maxAttempts: 3, initialDelay: 250, maxDelay: 1000, pause: () => Promise.resolve() },
      ),
    {
      logger: (_request, bindings, ctx) =>
        createLogger({
          component: 'test-worker',
          request_id: ctx.requestId,
          instance_id: instanceId,
          env: bindings,
          ctx,
        }),
    },
  );
  return {
    async send(requestId) {
      const ctx = createExecutionContext();
      const headers = requestId === undefined ? {} : { 'X-Request-ID': requestId };
      const request = new Request('https://worker.example.com/generate', {
        method: 'POST',
        headers,
      });
      const response = await fetch(request, workerEnv, ctx);
      await waitOnExecutionContext(ctx);
      return { status: response.status, headers: response.headers, body: await response.json() };
    },
    async writeLogs() {
      await runDurableObjectAlarm(buffers.get(buffers.idFromName(bufferName(instanceId))));
    },
  };
}
