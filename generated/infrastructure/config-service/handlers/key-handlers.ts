// Platform keys of users and projects: made here and shown once, listed, revoked.
import * as v from 'valibot';
import {
  type ApiKey,
  getApiKeyById,
  type KeyOwner,
  listApiKeys,
  revokeApiKey,
} from '@/infrastructure/database/queries';
import { readBody } from '../http/body';
import { type AuthenticatedContext, answer, answerCreated, timestampOf } from '../http/context';
import { forbidden, invalid, notFound } from '../http/errors';
import { objectOf } from '../http/objects';
import { pageBody, readPageRequest } from '../http/paging';
import type { PathParameters } from '../http/router';
import { issueKey } from '../security/key-store';
import { managesKeysOfUser } from '../security/policy';
import { Label, load, loadManagedProject, loadUser, orConflict, Time } from './support';

const NewKeyBody = objectOf({
  name: v.optional(Label, ''),
  expires_at: v.nullish(Time),
});

/** Makes sure that the owner exists and that the caller may manage its keys. */
async function assertManagesKeysOf(context: AuthenticatedContext, owner: KeyOwner): Promise<void> {
  if ('project_id' in owner) {
    await loadManagedProject(context, owner.project_id);
    return;
  }
  const user = await loadUser(context, owner.user_id);
  if (!managesKeysOfUser(context.principal, user)) {
    throw forbidden('the keys of this user are not yours to manage');
  }
}

async function listKeysOf(context: AuthenticatedContext, owner: KeyOwner): Promise<Response> {
  await assertManagesKeysOf(context, owner);
  const page = readPageRequest(context.url.searchParams);
  return answer(context, pageBody(await listApiKeys(context.env.DB, owner, page)));
}

async function createKeyFor(context: AuthenticatedContext, owner: KeyOwner): Promise<Response> {
  await assertManagesKeysOf(context, owner);
  const body = await readBody(context.request, NewKeyBody, { optional: true });
  const expiresAt = body.expires_at ?? null;
  if (expiresAt !== null && Date.parse(expiresAt) <= context.now.getTime()) {
    throw invalid('expires_at: must lie in the future');
  }
  const { key, record } = await orConflict(
    'the owner of the key has just been deleted',
    issueKey(context.env.DB, {
      key_id: context.newId(),
      owner,
      name: body.name,
      created_by: context.principal.kind === 'user' ? context.principal.user_id : null,
      created_at: timestampOf(context),
      expires_at: expiresAt,
    }),
  );
  return answerCreated(context, `/key/${record.key_id}`, { ...record, key });
}

async function loadManagedKey(context: AuthenticatedContext, keyId: string) {
  const key = await load(context, 'key', keyId, getApiKeyById);
  await assertManagesKeysOf(context, ownerOf(key));
  return key;
}

function ownerOf({ key_id, user_id, project_id }: ApiKey): KeyOwner {
  if (user_id !== null) {
    return { user_id };
  }
  if (project_id === null) {
    throw new Error(`the key ${key_id} belongs to neither a user nor a project`);
  }
  return { project_id };
}

type UserPath = PathParameters<'/user/:user_id/key'>;
type ProjectPath = PathParameters<'/project/:project_id/key'>;
type KeyPath = PathParameters<'/key/:key_id'>;

export async function getUserKeys(
  context: AuthenticatedContext,
  { user_id }: UserPath,
): Promise<Response> {
  return await listKeysOf(context, { user_id });
}

export async function createUserKey(
  context: AuthenticatedContext,
  { user_id }: UserPath,
): Promise<Response> {
  return await createKeyFor(context, { user_id });
}

export async function getProjectKeys(
  context: AuthenticatedContext,
  { project_id }: ProjectPath,
): Promise<Response> {
  return await listKeysOf(context, { project_id });
}

export async function createProjectKey(
  context: AuthenticatedContext,
  { project_id }: ProjectPath,
): Promise<Response> {
  return await createKeyFor(context, { project_id });
}

export async function getKey(
  context: AuthenticatedContext,
  { key_id }: KeyPath,
): Promise<Response> {
  return answer(context, await loadManagedKey(context, key_id));
}

export async function removeKey(
  context: AuthenticatedContext,
  { key_id }: KeyPath,
): Promise<Response> {
  await loadManagedKey(context, key_id);
  const key = await revokeApiKey(context.env.DB, key_id, timestampOf(context));
  if (key === null) {
    throw notFound(`there is no key ${key_id}`);
  }
  return answer(context, key);
}
