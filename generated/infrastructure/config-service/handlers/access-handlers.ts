// Which users may use an instance.
import {
  getInstanceAccess,
  grantInstanceAccess,
  listInstanceAccess,
  revokeInstanceAccess,
} from '@/infrastructure/database/queries';
import { invalidateInstanceConfigs } from '../cache-entries';
import { type AuthenticatedContext, answer, timestampOf } from '../http/context';
import { conflict, notFound } from '../http/errors';
import { pageBody, readPageRequest } from '../http/paging';
import type { PathParameters } from '../http/router';
import { loadManagedInstance, loadUser, orConflict } from './support';

type AccessPath = PathParameters<'/instance/:instance_id/access/:user_id'>;

export async function getAccessList(
  context: AuthenticatedContext,
  { instance_id }: PathParameters<'/instance/:instance_id/access'>,
): Promise<Response> {
  await loadManagedInstance(context, instance_id);
  const page = readPageRequest(context.url.searchParams);
  return answer(context, pageBody(await listInstanceAccess(context.env.DB, instance_id, page)));
}

export async function giveAccess(
  context: AuthenticatedContext,
  { instance_id, user_id }: AccessPath,
): Promise<Response> {
  const { principal, env } = context;
  const instance = await loadManagedInstance(context, instance_id);
  const user = await loadUser(context, user_id);
  if (user.org_id !== instance.org_id) {
    throw conflict('this user belongs to another organization than the instance');
  }
  await orConflict(
    'the instance or the user has just been deleted',
    grantInstanceAccess(env.DB, {
      instance_id,
      user_id,
      granted_by: principal.kind === 'user' ? principal.user_id : null,
      created_at: timestampOf(context),
    }),
  );
  await invalidateInstanceConfigs(env.CONFIG_CACHE, [instance_id], context.report);
  const access = await getInstanceAccess(env.DB, instance_id, user_id);
  if (access === null) {
    throw conflict('this access has just been taken back');
  }
  return answer(context, access);
}

export async function takeAccess(
  context: AuthenticatedContext,
  { instance_id, user_id }: AccessPath,
): Promise<Response> {
  await loadManagedInstance(context, instance_id);
  if (!(await revokeInstanceAccess(context.env.DB, instance_id, user_id))) {
    throw notFound('this user has no access to this instance');
  }
  await invalidateInstanceConfigs(context.env.CONFIG_CACHE, [instance_id], context.report);
  return answer(context, { deleted: true, instance_id, user_id });
}
