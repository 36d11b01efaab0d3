// Users: admins keep those of their organisation, superadmins all.
import * as v from 'valibot';
import {
  deleteUser,
  insertUser,
  listUsers,
  ROLES,
  type Role,
  updateUser,
} from '@/infrastructure/database/queries';
import { invalidateInstanceConfigs } from '../cache-entries';
import { readBody } from '../http/body';
import { type AuthenticatedContext, answer, answerCreated, timestampOf } from '../http/context';
import { conflict, forbidden, notFound } from '../http/errors';
import { objectOf } from '../http/objects';
import { pageBody, readPageRequest } from '../http/paging';
import type { PathParameters } from '../http/router';
import { actorOf, canReadUser, isSelf, managesUser } from '../security/policy';
import {
  Email,
  hasSomeField,
  Identifier,
  loadManagedOrganization,
  loadUser,
  NO_FIELD,
  orConflict,
} from './support';

type UserPath = PathParameters<'/user/:user_id'>;

const NewUserBody = objectOf({
  email: Email,
  org_id: Identifier,
  role: v.optional(v.picklist(ROLES), 'user'),
});

const UserChangeBody = v.pipe(
  objectOf({ email: v.optional(Email), role: v.optional(v.picklist(ROLES)) }),
  v.check(hasSomeField, NO_FIELD),
);

function assertMayGiveRole(context: AuthenticatedContext, role: Role): void {
  if (role === 'superadmin' && actorOf(context.principal) !== 'superadmin') {
    throw forbidden('only a superadmin makes a superadmin');
  }
}

async function loadManagedUser(context: AuthenticatedContext, userId: string) {
  const user = await loadUser(context, userId);
  if (!managesUser(context.principal, user)) {
    throw forbidden('this user is not yours to change');
  }
  return user;
}

export async function getUsers(context: AuthenticatedContext): Promise<Response> {
  const { principal, url } = context;
  const page = readPageRequest(url.searchParams);
  const filter = url.searchParams.get('org_id');
  if (filter !== null) {
    await loadManagedOrganization(context, filter);
  }
  const ownOnly = principal.kind === 'user' && principal.role === 'admin';
  const orgId = filter ?? (ownOnly ? principal.org_id : undefined);
  return answer(context, pageBody(await listUsers(context.env.DB, page, { orgId })));
}

export async function createUser(context: AuthenticatedContext): Promise<Response> {
  const body = await readBody(context.request, NewUserBody);
  assertMayGiveRole(context, body.role);
  await loadManagedOrganization(context, body.org_id);
  const user = await orConflict(
    'this email is taken',
    insertUser(context.env.DB, {
      user_id: context.newId(),
      ...body,
      created_at: timestampOf(context),
    }),
  );
  return answerCreated(context, `/user/${user.user_id}`, user);
}

export async function getUser(
  context: AuthenticatedContext,
  { user_id }: UserPath,
): Promise<Response> {
  const user = await loadUser(context, user_id);
  if (!canReadUser(context.principal, user)) {
    throw forbidden('this user belongs to another organization');
  }
  return answer(context, user);
}

export async function changeUser(
  context: AuthenticatedContext,
  { user_id }: UserPath,
): Promise<Response> {
  const present = await loadManagedUser(context, user_id);
  const change = await readBody(context.request, UserChangeBody);
  if (change.role !== undefined && change.role !== present.role) {
    assertMayGiveRole(context, change.role);
    if (isSelf(context.principal, user_id)) {
      throw forbidden('nobody changes the own role');
    }
  }
  const user = await orConflict(
    'this email is taken',
    updateUser(context.env.DB, user_id, { ...change, updated_at: timestampOf(context) }),
  );
  if (user === null) {
    throw notFound(`there is no user ${user_id}`);
  }
  return answer(context, user);
}

export async function removeUser(
  context: AuthenticatedContext,
  { user_id }: UserPath,
): Promise<Response> {
  const user = await loadManagedUser(context, user_id);
  if (isSelf(context.principal, user_id)) {
    throw conflict('nobody deletes the own account');
  }
  await deleteUser(context.env.DB, user_id);
  // The list of authorised users is part of a configuration.
  await invalidateInstanceConfigs(context.env.CONFIG_CACHE, user.instances, context.report);
  return answer(context, { deleted: true, user_id });
}
