// What a handler is given for one request, and how it answers.
import type { ConfigServiceEnv } from '../env';
import type { Principal } from '../security/policy';

export interface RequestContext {
  request: Request;
  url: URL;
  env: ConfigServiceEnv;
  requestId: string;
  /** The time of this request; one request sees one time. */
  now: Date;
  newId: () => string;
  /** Reports a fault that does not change the answer. */
  report: (error: unknown) => void;
}

export interface AuthenticatedContext extends RequestContext {
  principal: Principal;
}

export function timestampOf(context: RequestContext): string {
  return context.now.toISOString();
}

export function answer(
  context: RequestContext,
  body: object,
  { status = 200, headers = {} }: { status?: number; headers?: Record<string, string> } = {},
): Response {
  return Response.json({ ...body, request_id: context.requestId }, { status, headers });
}

export function answerCreated(context: RequestContext, location: string, body: object): Response {
  return answer(context, body, { status: 201, headers: { Location: location } });
}
