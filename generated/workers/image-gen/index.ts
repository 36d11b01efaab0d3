// The image-generation Worker. A request goes through here once: preflight, body, route, handler; and whatever is thrown on
// the way becomes an answer in the one form of errors.
import {
  corsHeaders,
  isPreflight,
  preflightHeaders,
} from '@/infrastructure/config-service/http/cors';
import { ApiError } from '@/infrastructure/config-service/http/errors';
import { requestIdOf } from '@/infrastructure/config-service/http/request-id';
import { matchRoute, route } from '@/infrastructure/config-service/http/router';
import {
  InternalError,
  MethodNotAllowedError,
  PlatformError,
} from '@/workers/shared/error-handling/errors';
import {
  type RequestExecutionContext,
  withErrorHandling,
} from '@/workers/shared/error-handling/middleware';
import { pause } from '@/workers/shared/error-handling/pause';
import { createLogger } from '@/workers/shared/logging/logger';
import { runRetention } from '@/workers/shared/logging/retention';
import { isImagePath, serveImage } from '@/workers/shared/r2-manager/storage';
import { answer, COMPONENT, type RequestContext, type Surroundings } from './context';
import type { ImageGenEnv } from './env';
import { generate } from './generate';
import { getJob } from './jobs';
import { logged } from './request-log';
import { type ParsedBody, parseGenerateBody } from './validation';

export { CircuitBreaker } from '@/workers/shared/error-handling/circuit-breaker-object';
export { LogBuffer } from '@/workers/shared/logging/log-buffer';
export { RateLimiter } from '@/workers/shared/rate-limiter/limiter';
export type { ImageGenEnv } from './env';
export { GenerationJob } from './generation-job';

/** No other route looks at its body. */
const UNREAD: ParsedBody = { error: new InternalError() };
const IMAGES_PATH = '/images/';
/** Whatever is there: an id that cannot exist is unknown like any other, after the credential. */
const PATH_PARAMETER = /./;

async function getHealth(context: RequestContext): Promise<Response> {
  await context.env.DB.prepare('SELECT 1 FROM organizations LIMIT 1').run();
  return answer(context, { status: 'ok' });
}

async function postGenerate(context: RequestContext): Promise<Response> {
  return await logged(context, async (note) => {
    if ('error' in context.body) {
      throw context.body.error;
    }
    return await generate(context, context.body.input, note);
  });
}

async function getImage(context: RequestContext): Promise<Response> {
  const { request, url, env, requestId } = context;
  const path = url.pathname.slice(IMAGES_PATH.length);
  if (isImagePath(path) && request.method !== 'GET' && request.method !== 'HEAD') {
    throw new MethodNotAllowedError(['GET', 'HEAD']);
  }
  return await serveImage(request, path, env, requestId);
}

const ROUTES = [
  route<RequestContext, '/health'>('GET', '/health', getHealth),
  route<RequestContext, '/generate'>('POST', '/generate', postGenerate),
  route<RequestContext, '/jobs/:jobId'>('GET', '/jobs/:jobId', (context, { jobId }) =>
    getJob(context, jobId),
  ),
];

/** The table's refusals are errors of the Config Service; as errors of ours they keep their headers, such as `Allow`. */
function findRoute(method: string, pathname: string) {
  try {
    return matchRoute(ROUTES, method, pathname, PATH_PARAMETER);
  } catch (error) {
    throw error instanceof ApiError
      ? new PlatformError(error.code, error.message, { headers: error.headers })
      : error;
  }
}

async function handle(context: RequestContext): Promise<Response> {
  const { request, url } = context;
  // Names of images are no identifiers, so that the table of routes has no place for them.
  if (url.pathname.startsWith(IMAGES_PATH)) {
    return await getImage(context);
  }
  const { route: found, parameters } = findRoute(request.method, url.pathname);
  return await found.handle(context, parameters);
}

/** The request without its body, which has been read, under this id. */
function withRequestId({ url, method, headers }: Request, requestId: string): Request {
  const named = new Headers(headers);
  named.set('X-Request-ID', requestId);
  return new Request(url, { method, headers: named });
}

export interface ImageGenWorker {
  fetch: (
    request: Request,
    env: ImageGenEnv,
    executionContext: Pick<ExecutionContext, 'waitUntil' | 'passThroughOnException'>,
  ) => Promise<Response>;
}

export function createImageGenWorker(overrides: Partial<Surroundings> = {}): ImageGenWorker {
  const surroundings: Surroundings = {
    fetch: (request) => fetch(request),
    newId: () => crypto.randomUUID(),
    pause,
    timer: pause,
    random: Math.random,
    ...overrides,
  };
  const loggerFor = (
    env: ImageGenEnv,
    { requestId, waitUntil }: Pick<RequestExecutionContext, 'requestId' | 'waitUntil'>,
  ) => createLogger({ component: COMPONENT, request_id: requestId, env, ctx: { waitUntil } });

  async function respond(
    request: Request,
    env: ImageGenEnv,
    executionContext: Parameters<ImageGenWorker['fetch']>[2],
  ): Promise<Response> {
    const startedAtMs = Date.now();
    const url = new URL(request.url);
    const body =
      request.method === 'POST' && url.pathname === '/generate'
        ? await parseGenerateBody(request)
        : UNREAD;
    // The id in a valid body goes before that of the header: the repeated answer is then equal to the first one.
    const idOfBody = 'input' in body ? body.input.requestId : null;
    const named = idOfBody === null ? request : withRequestId(request, idOfBody);
    const handler = withErrorHandling<ImageGenEnv>(
      (_, bindings, ctx) =>
        handle({
          ...surroundings,
          request: named,
          url,
          env: bindings,
          requestId: ctx.requestId,
          startedAtMs,
          executionContext: ctx,
          logger: loggerFor(bindings, ctx),
          body,
        }),
      { newId: surroundings.newId, logger: (_, bindings, ctx) => loggerFor(bindings, ctx) },
    );
    return await handler(named, env, executionContext);
  }

  return {
    async fetch(request, env, executionContext) {
      const allowedOrigins = env.ALLOWED_ORIGINS ?? '';
      if (isPreflight(request)) {
        return new Response(null, {
          status: 204,
          headers: {
            'X-Request-ID': requestIdOf(request, surroundings.newId),
            'Cache-Control': 'no-store',
            'X-Content-Type-Options': 'nosniff',
            ...preflightHeaders(request, allowedOrigins),
          },
        });
      }
      const response = await respond(request, env, executionContext);
      const headers = new Headers(response.headers);
      for (const [name, value] of Object.entries(corsHeaders(request, allowedOrigins))) {
        headers.set(name, value);
      }
      const body = request.method === 'HEAD' ? null : response.body;
      return new Response(body, { status: response.status, headers });
    },
  };
}

export default {
  ...createImageGenWorker(),
  // Awaited, so that a failed run shows as failed where the runs of the schedule are listed.
  scheduled: async ({ scheduledTime }, env) => await runRetention(env, scheduledTime),
} satisfies ExportedHandler<ImageGenEnv>;
