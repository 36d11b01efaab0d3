// Who asks, and for which instance: the platform's middleware and lookup, in the form that this Worker uses them.
import { authMiddleware } from '@/infrastructure/auth/middleware';
import type { AuthContext } from '@/infrastructure/auth/types';
import { resolveInstance } from '@/infrastructure/lookup/instance-resolver';
import type { ResolvedInstance } from '@/infrastructure/lookup/types';
import { AuthenticationError, ValidationError } from '@/workers/shared/error-handling/errors';
import { type RequestContext, report } from './context';

export async function authenticate(
  context: RequestContext,
  bodyKey?: string,
): Promise<AuthContext> {
  const result = await authMiddleware(context.request, context.env, {
    executionContext: context.executionContext,
    bodyKey,
    requestId: context.requestId,
    report: (error) => report(context, error),
  });
  if (!result.authorized) {
    throw new AuthenticationError(
      result.reason === 'missing' ? 'send an API key as Authorization: Bearer <key>' : undefined,
      { details: { reason: result.reason } },
    );
  }
  return result.auth;
}

export async function findInstance(
  context: RequestContext,
  auth: AuthContext,
  named: { instanceId: string | null; projectId: string | null },
): Promise<ResolvedInstance> {
  return await resolveInstance({ auth, ...named, requestId: context.requestId }, context.env, {
    executionContext: context.executionContext,
    report: (error) => report(context, error),
  });
}

export function providerKeyOf(instance: ResolvedInstance, provider: string): string {
  const key = instance.api_keys[provider];
  if (key === undefined) {
    throw new ValidationError(`this instance has no key for ${provider}`);
  }
  return key;
}
