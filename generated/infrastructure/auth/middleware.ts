// Authentication for every Worker but the Config Service: from the key of a request to who is asking.
import { requestIdOf } from '@/infrastructure/config-service/http/request-id';
import {
  type AuthenticationFailure,
  authenticateKey,
  bearerCredential,
} from '@/infrastructure/config-service/security/authenticator';
import { type AuthContext, type AuthEnv, type AuthResult, authContextOf } from './types';

export interface AuthOptions {
  /** Lets the note of a key's last use end after the answer. Without it the note is waited for. */
  executionContext?: Pick<ExecutionContext, 'waitUntil'>;
  /** A key from the body, for routes that take one there. The header wins if both are sent. */
  bodyKey?: string | undefined;
  /** The id of the request, if it has one already. */
  requestId?: string;
  now?: () => Date;
  /** Told about faults that do not change the outcome. */
  report?: (error: unknown) => void;
}

const MESSAGES: Record<AuthenticationFailure, string> = {
  missing: 'send an API key as Authorization: Bearer <key>',
  malformed: 'this API key is not valid',
  unknown: 'this API key is not valid',
  revoked: 'this API key is not valid',
  expired: 'this API key is not valid',
};

function errorResponse(
  status: 401 | 403,
  body: { error: string; code: string; request_id: string },
): Response {
  return Response.json(body, {
    status,
    headers: {
      'Content-Type': 'application/json; charset=utf-8',
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      'X-Request-ID': body.request_id,
      ...(status === 401 ? { 'WWW-Authenticate': 'Bearer' } : {}),
    },
  });
}

function keyOf(request: Request, bodyKey: string | undefined): string | null {
  if (request.headers.has('Authorization')) {
    return bearerCredential(request) ?? '';
  }
  return bodyKey ?? null;
}

/**
 * Authenticates `request` by its key. An invalid key is a result, ready to be sent as a 401; a database that fails
 * rejects, because that is no fault of the caller.
 */
export async function authMiddleware(
  request: Request,
  env: AuthEnv,
  options: AuthOptions = {},
): Promise<AuthResult> {
  const {
    executionContext,
    bodyKey,
    requestId = requestIdOf(request, () => crypto.randomUUID()),
    now = () => new Date(),
    report = (error) => console.error(error),
  } = options;
  const pending: Promise<void>[] = [];
  const result = await authenticateKey(keyOf(request, bodyKey), {
    database: env.DB,
    now: now(),
    defer: (work) => {
      if (executionContext === undefined) {
        pending.push(work);
      } else {
        executionContext.waitUntil(work);
      }
    },
    report,
  });
  await Promise.all(pending);
  if ('failure' in result) {
    const error = MESSAGES[result.failure];
    return {
      authorized: false,
      status: 401,
      reason: result.failure,
      response: errorResponse(401, { error, code: 'AUTH_FAILED', request_id: requestId }),
    };
  }
  const auth = authContextOf(result.principal);
  const { user, instances, permissions } = auth;
  return { authorized: true, auth, user, instances, permissions };
}

/** The answer to a caller that is known and not allowed. */
export function forbiddenResponse(requestId: string, message: string): Response {
  return errorResponse(403, { error: message, code: 'FORBIDDEN', request_id: requestId });
}

/** An execution context that knows who is asking. */
export interface AuthenticatedExecutionContext
  extends Pick<ExecutionContext, 'waitUntil' | 'passThroughOnException'> {
  auth: AuthContext;
}

/** Wraps a fetch handler: it runs for authenticated requests only, and finds the caller in `ctx.auth`. */
export function withAuth<Env extends AuthEnv>(
  handler: (
    request: Request,
    env: Env,
    ctx: AuthenticatedExecutionContext,
  ) => Response | Promise<Response>,
  options: Omit<AuthOptions, 'executionContext' | 'bodyKey' | 'requestId'> = {},
): (
  request: Request,
  env: Env,
  ctx: Pick<ExecutionContext, 'waitUntil' | 'passThroughOnException'>,
) => Promise<Response> {
  return async (request, env, ctx) => {
    const result = await authMiddleware(request, env, { ...options, executionContext: ctx });
    if (!result.authorized) {
      return result.response;
    }
    // The runtime's context is wrapped, not extended: its methods work on the original object only.
    return await handler(request, env, {
      auth: result.auth,
      waitUntil: (work) => ctx.waitUntil(work),
      passThroughOnException: () => ctx.passThroughOnException(),
    });
  };
}
