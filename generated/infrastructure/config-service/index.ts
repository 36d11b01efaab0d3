// The Config Service: the one Worker that reads and writes configuration. A request goes through here once: its id, its
// route, its caller, its handler; and whatever is thrown on the way becomes an answer in the one form of errors.
import type { ConfigServiceEnv } from './env';
import { answer, type RequestContext } from './http/context';
import { corsHeaders, isPreflight, preflightHeaders } from './http/cors';
import { ApiError } from './http/errors';
import { requestIdOf } from './http/request-id';
import { matchRoute } from './http/router';
import { ROUTES } from './routes';
import { redactText } from './security/redaction';

export type { ConfigServiceEnv } from './env';

/** Whatever is there: an id that cannot exist is unknown like any other, after credential and role. */
const PATH_PARAMETER = /./;

export interface ConfigServiceOptions {
  now?: () => Date;
  newId?: () => string;
  /** Where faults are reported: one line of JSON each. */
  log?: (line: string) => void;
}

/** The deferred part of the runtime's `ExecutionContext`. */
export type Deferring = Pick<ExecutionContext, 'waitUntil'>;

export interface ConfigService {
  fetch: (
    request: Request,
    env: ConfigServiceEnv,
    executionContext: Deferring,
  ) => Promise<Response>;
}

/** One line for the log. Only name and message: neither holds anything that a caller has sent. */
function describeFault(requestId: string, error: unknown): string {
  const known = error instanceof Error;
  return JSON.stringify({
    level: 'ERROR',
    component: 'config-service',
    request_id: requestId,
    message: known ? redactText(error.message) : 'something that is no error was thrown',
    error: known ? error.name : typeof error,
  });
}

function answerError(context: RequestContext, error: unknown): Response {
  if (error instanceof ApiError) {
    return answer(
      context,
      { error: error.message, code: error.code },
      { status: error.status, headers: error.headers },
    );
  }
  context.report(error);
  return answer(
    context,
    { error: 'something went wrong on our side', code: 'INTERNAL_ERROR' },
    { status: 500 },
  );
}

export function createConfigService({
  now = () => new Date(),
  newId = () => crypto.randomUUID(),
  log = (line) => console.error(line),
}: ConfigServiceOptions = {}): ConfigService {
  return {
    async fetch(request, env, executionContext) {
      const requestId = requestIdOf(request, newId);
      const allowedOrigins = env.ALLOWED_ORIGINS ?? '';
      const commonHeaders = {
        'X-Request-ID': requestId,
        'Cache-Control': 'no-store',
        'X-Content-Type-Options': 'nosniff',
      };
      if (isPreflight(request)) {
        const headers = { ...commonHeaders, ...preflightHeaders(request, allowedOrigins) };
        return new Response(null, { status: 204, headers });
      }
      const context = {
        request,
        url: new URL(request.url),
        env,
        requestId,
        now: now(),
        newId,
        report: (error: unknown) => log(describeFault(requestId, error)),
        defer: (work: Promise<void>) => executionContext.waitUntil(work),
      };
      let response: Response;
      try {
        const path = context.url.pathname;
        const match = matchRoute(ROUTES, request.method, path, PATH_PARAMETER);
        response = await match.route.handle(context, match.parameters);
      } catch (error) {
        response = answerError(context, error);
      }
      const headers = new Headers(response.headers);
      for (const [name, value] of Object.entries({
        ...commonHeaders,
        ...corsHeaders(request, allowedOrigins),
        'Content-Type': 'application/json; charset=utf-8',
      })) {
        headers.set(name, value);
      }
      const body = request.method === 'HEAD' ? null : response.body;
      return new Response(body, { status: response.status, headers });
    },
  };
}

export default createConfigService() satisfies ExportedHandler<ConfigServiceEnv>;
