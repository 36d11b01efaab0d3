// A clock that pauses move, a logger that remembers, and a circuit on the real Durable Object.
import { env } from 'cloudflare:workers';
import type { CircuitBreaker } from '@/workers/shared/error-handling/circuit-breaker-object';
import type { ErrorLogger } from '@/workers/shared/error-handling/middleware';
import type { Pause } from '@/workers/shared/error-handling/retry';

export const START_MS = Date.parse('2026-03-01T10:00:00.000Z');

export interface FakeClock {
  now: () => number;
  pause: Pause;
  /** How long each pause was asked to be. */
  pauses: number[];
}

/** Time passes only in pauses. */
export function fakeClock(): FakeClock {
  let time = START_MS;
  const pauses: number[] = [];
  return {
    now: () => time,
    pause: (milliseconds) => {
      pauses.push(milliseconds);
      time += milliseconds;
      return Promise.resolve();
    },
    pauses,
  };
}

export interface LoggedLine {
  level: 'debug' | 'info' | 'warn' | 'error';
  message: string;
  fields: Record<string, unknown>;
}

export function rememberingLogger(): { logger: ErrorLogger; lines: LoggedLine[] } {
  const lines: LoggedLine[] = [];
  const at =
    (level: LoggedLine['level']) =>
    (message: string, fields: Record<string, unknown> = {}) => {
      lines.push({ level, message, fields });
    };
  const logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  return { logger, lines };
}

// Sound because vitest.config.ts binds this class.
export const circuits = env.CIRCUIT_BREAKER as DurableObjectNamespace<CircuitBreaker>;
