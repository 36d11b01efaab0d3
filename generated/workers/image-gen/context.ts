// What one request carries through this Worker, what tests can replace, and the one way to answer.
import type { Pause } from '@/workers/shared/error-handling/retry';
import type { Logger } from '@/workers/shared/logging/logger';
import type { ImageGenEnv } from './env';
import type { ParsedBody } from './validation';

export const COMPONENT = 'image-gen-worker';

/** What lies outside of this Worker, and what looks random. */
export interface Surroundings {
  /** Calls to providers. */
  fetch: (request: Request) => Promise<Response>;
  newId: () => string;
  /** Waits between attempts and between two looks at a job. */
  pause: Pause;
  /** Ends the time of a request. */
  timer: Pause;
  /** A number from 0 up to, but not including, 1. */
  random: () => number;
}

export interface RequestContext extends Surroundings {
  request: Request;
  url: URL;
  env: ImageGenEnv;
  requestId: string;
  startedAtMs: number;
  executionContext: Pick<ExecutionContext, 'waitUntil'>;
  logger: Logger;
  /** Of `POST /generate`. */
  body: ParsedBody;
}

/** Tells of a fault that does not change the answer. */
export function report(context: RequestContext, error: unknown): void {
  context.logger.warn('a fault was covered', { error });
}

/** Lets work that is given up come to its end after the answer: the breaker, for one, has still to be told of a call that hung. */
export function outliveAnswer<Result>(
  { executionContext }: RequestContext,
  work: Promise<Result>,
): Promise<Result> {
  executionContext.waitUntil(work.catch(() => undefined));
  return work;
}

export function answer(context: RequestContext, body: object, status = 200): Response {
  return Response.json(
    { ...body, request_id: context.requestId },
    {
      status,
      headers: {
        'Content-Type': 'application/json; charset=utf-8',
        'Cache-Control': 'no-store',
        'X-Content-Type-Options': 'nosniff',
        'X-Request-ID': context.requestId,
      },
    },
  );
}
