// The global error handler: wraps a Worker's handler, so that whatever it throws becomes an answer in the one form of
// errors, and one entry in the log.
import { requestIdOf } from '@/infrastructure/config-service/http/request-id';
import { redactText, secretsOfEnv } from '@/infrastructure/config-service/security/redaction';
import { errorResponse, type PlatformError, toPlatformError } from './errors';
import { serializeError } from './serialize-error';

/** What the handler needs of a logger. */
export interface ErrorLogger {
  debug: (message: string, fields?: Record<string, unknown>) => unknown;
  info: (message: string, fields?: Record<string, unknown>) => unknown;
  warn: (message: string, fields?: Record<string, unknown>) => unknown;
  error: (message: string, fields?: Record<string, unknown>) => unknown;
}

type RuntimeContext = Pick<ExecutionContext, 'waitUntil' | 'passThroughOnException'>;

/** The runtime's context, with the id of the request. */
export interface RequestExecutionContext extends RuntimeContext {
  requestId: string;
}

export interface ErrorHandlingOptions<Env> {
  /** Made for each request, so that it can carry the request's context. Without it, lines of JSON go to the console. */
  logger?: (request: Request, env: Env, ctx: RequestExecutionContext) => ErrorLogger;
  newId?: () => string;
  /** The id of the request, where it is not that of the header `X-Request-ID`, or a new one. */
  requestId?: (request: Request) => string;
  /** Where lines go without a logger. */
  writeLine?: (line: string) => void;
}

export function consoleLogger(
  writeLine: (line: string) => void = (line) => console.error(line),
): ErrorLogger {
  const write = (level: string) => (message: string, fields?: Record<string, unknown>) =>
    writeLine(JSON.stringify({ level, message, ...fields }));
  return {
    debug: write('DEBUG'),
    info: write('INFO'),
    warn: write('WARN'),
    error: write('ERROR'),
  };
}

/** One entry for one error: a WARN for what the caller did, an ERROR for what we or a provider did. */
export function logError(
  logger: ErrorLogger,
  thrown: unknown,
  requestId: string,
  secrets: readonly string[] = [],
): unknown {
  const error: PlatformError = toPlatformError(thrown);
  const fields = {
    request_id: requestId,
    code: error.code,
    status: error.status,
    error: serializeError(thrown, secrets),
  };
  const message = redactText(error.message, secrets);
  return error.status >= 500 ? logger.error(message, fields) : logger.warn(message, fields);
}

/** A logger that fails, at once or later, changes no answer. */
function logSafely(log: () => unknown): void {
  try {
    const outcome = log();
    if (outcome instanceof Promise) {
      outcome.catch(() => undefined);
    }
  } catch {
    // There is nowhere left to tell it.
  }
}

/** The handler, answering for its errors. It finds the id of the request in `ctx.requestId`. */
export function withErrorHandling<Env>(
  handler: (
    request: Request,
    env: Env,
    ctx: RequestExecutionContext,
  ) => Response | Promise<Response>,
  {
    logger = () => consoleLogger(writeLine),
    newId = () => crypto.randomUUID(),
    requestId: idOf = (request) => requestIdOf(request, newId),
    writeLine,
  }: ErrorHandlingOptions<Env> = {},
): (request: Request, env: Env, ctx: RuntimeContext) => Promise<Response> {
  return async (request, env, ctx) => {
    const requestId = idOf(request);
    // The runtime's context is wrapped, not extended: its methods work on the original object only.
    const context: RequestExecutionContext = {
      requestId,
      waitUntil: (work) => ctx.waitUntil(work),
      passThroughOnException: () => ctx.passThroughOnException(),
    };
    try {
      return await handler(request, env, context);
    } catch (error) {
      const secrets = secretsOfEnv(env);
      logSafely(() => logError(logger(request, env, context), error, requestId, secrets));
      const response = errorResponse(error, requestId, secrets);
      return request.method === 'HEAD' ? new Response(null, response) : response;
    }
  };
}
