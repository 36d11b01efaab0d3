// Whether the service is well, and who the caller is.
import { type AuthenticatedContext, answer, type RequestContext } from '../http/context';
import { forbidden } from '../http/errors';
import { permissionsOf } from '../security/policy';

export async function getHealth(context: RequestContext): Promise<Response> {
  await context.env.DB.prepare('SELECT 1 FROM organizations LIMIT 1').run();
  return answer(context, { status: 'ok' });
}

export function getMe(context: AuthenticatedContext): Promise<Response> {
  const { principal } = context;
  if (principal.kind === 'service') {
    throw forbidden('a service has no account');
  }
  const isUser = principal.kind === 'user';
  return Promise.resolve(
    answer(context, {
      user_id: isUser ? principal.user_id : null,
      email: isUser ? principal.email : null,
      role: isUser ? principal.role : 'user',
      org_id: principal.org_id,
      project_id: isUser ? null : principal.project_id,
      instances: principal.instances,
      permissions: permissionsOf(principal),
      key_id: principal.key_id,
    }),
  );
}
