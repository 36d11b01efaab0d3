// Instances: their configuration, with provider keys encrypted on the way in and masked on the way out.
import * as v from 'valibot';
import {
  deleteInstance,
  getInstanceById,
  type Instance,
  insertInstance,
  listInstances,
  updateInstance,
} from '@/infrastructure/database/queries';
import { invalidateInstanceConfigs } from '../cache-entries';
import { readBody } from '../http/body';
import { type AuthenticatedContext, answer, answerCreated, timestampOf } from '../http/context';
import { conflict, forbidden, notFound } from '../http/errors';
import { objectOf } from '../http/objects';
import { pageBody, readPageRequest } from '../http/paging';
import type { PathParameters } from '../http/router';
import {
  applyConfigChange,
  ConfigChange,
  decryptedKeys,
  EMPTY_CONFIG,
  maskedKeys,
  NewConfig,
  readStoredConfig,
} from '../instance-config';
import { canReadInstance, managesOrganization, type Principal } from '../security/policy';
import { type KeyRing, readKeyRing } from '../security/provider-keys';
import {
  hasSomeField,
  Identifier,
  loadInstance,
  loadManagedInstance,
  loadManagedOrganization,
  loadOrganization,
  Name,
  NO_FIELD,
  orConflict,
} from './support';

type InstancePath = PathParameters<'/instance/:instance_id'>;

/** Edits of one instance at one time are few; whoever loses this often is better told. */
const UPDATE_ATTEMPTS = 5;

const NewInstanceBody = objectOf({
  instance_id: v.optional(Identifier),
  org_id: Identifier,
  name: Name,
  config: v.optional(NewConfig),
});

const InstanceChangeBody = v.pipe(
  objectOf({ name: v.optional(Name), config: v.optional(ConfigChange) }),
  v.check(hasSomeField, NO_FIELD),
);

/** Imports the encryption keys when they are first needed, and once for one request. */
function lazyKeyRing(context: AuthenticatedContext): () => Promise<KeyRing> {
  let ring: Promise<KeyRing> | null = null;
  return () => {
    ring ??= readKeyRing(context.env.PROVIDER_KEY_ENCRYPTION_KEYS);
    return ring;
  };
}

function visibleUsers(principal: Principal, instance: Instance): string[] {
  if (principal.kind === 'service' || managesOrganization(principal, instance.org_id)) {
    return instance.authorized_users;
  }
  return instance.authorized_users.filter(
    (userId) => principal.kind === 'user' && userId === principal.user_id,
  );
}

/** The instance as this caller may see it: only a service gets provider keys in clear. */
async function present(
  principal: Principal,
  instance: Instance,
  keyRing: () => Promise<KeyRing>,
): Promise<object> {
  const config = readStoredConfig(instance.config);
  return {
    instance_id: instance.instance_id,
    org_id: instance.org_id,
    name: instance.name,
    api_keys:
      principal.kind === 'service'
        ? await decryptedKeys(instance.instance_id, config, await keyRing())
        : maskedKeys(config),
    rate_limits: config.rate_limits,
    worker_urls: config.worker_urls,
    r2_bucket: config.r2_bucket,
    authorized_users: visibleUsers(principal, instance),
    created_at: instance.created_at,
    updated_at: instance.updated_at,
  };
}

function scopeOf(principal: Principal): Parameters<typeof listInstances>[2] {
  if (principal.kind === 'project') {
    return { instanceId: principal.instances[0] };
  }
  if (principal.kind === 'service' || principal.role === 'superadmin') {
    return {};
  }
  return principal.role === 'admin'
    ? { orgId: principal.org_id }
    : { accessibleTo: principal.user_id };
}

export async function getInstances(context: AuthenticatedContext): Promise<Response> {
  const { principal, url } = context;
  const page = readPageRequest(url.searchParams);
  const orgId = url.searchParams.get('org_id');
  if (orgId !== null) {
    await loadOrganization(context, orgId);
    const isMember = principal.kind !== 'service' && principal.org_id === orgId;
    if (!isMember && principal.kind !== 'service' && !managesOrganization(principal, orgId)) {
      throw forbidden('this organization is not yours');
    }
  }
  const found = await listInstances(context.env.DB, page, {
    ...(orgId === null ? {} : { orgId }),
    ...scopeOf(principal),
  });
  const keyRing = lazyKeyRing(context);
  const items = await Promise.all(
    found.items.map((instance) => present(principal, instance, keyRing)),
  );
  return answer(context, pageBody({ items, next: found.next }));
}

export async function createInstance(context: AuthenticatedContext): Promise<Response> {
  const body = await readBody(context.request, NewInstanceBody);
  await loadManagedOrganization(context, body.org_id);
  const instanceId = body.instance_id ?? context.newId();
  const keyRing = lazyKeyRing(context);
  const instance = await orConflict(
    'this instance_id is taken',
    insertInstance(context.env.DB, {
      instance_id: instanceId,
      org_id: body.org_id,
      name: body.name,
      config: await applyConfigChange(instanceId, EMPTY_CONFIG, body.config ?? {}, keyRing),
      created_at: timestampOf(context),
    }),
  );
  await invalidateInstanceConfigs(context.env.CONFIG_CACHE, [instanceId], context.report);
  const location = `/instance/${instanceId}`;
  return answerCreated(context, location, await present(context.principal, instance, keyRing));
}

export async function getInstance(
  context: AuthenticatedContext,
  { instance_id }: InstancePath,
): Promise<Response> {
  const instance = await loadInstance(context, instance_id);
  if (!canReadInstance(context.principal, instance)) {
    throw forbidden('you have no access to this instance');
  }
  return answer(context, await present(context.principal, instance, lazyKeyRing(context)));
}

export async function changeInstance(
  context: AuthenticatedContext,
  { instance_id }: InstancePath,
): Promise<Response> {
  let read: Instance | null = await loadManagedInstance(context, instance_id);
  const body = await readBody(context.request, InstanceChangeBody);
  const keyRing = lazyKeyRing(context);
  for (let attempt = 0; attempt < UPDATE_ATTEMPTS; attempt += 1) {
    const written: Instance | null = await updateInstance(
      context.env.DB,
      instance_id,
      read.version,
      {
        name: body.name ?? read.name,
        config: await applyConfigChange(
          instance_id,
          readStoredConfig(read.config),
          body.config ?? {},
          keyRing,
        ),
        updated_at: timestampOf(context),
      },
    );
    if (written !== null) {
      await invalidateInstanceConfigs(context.env.CONFIG_CACHE, [instance_id], context.report);
      return answer(context, await present(context.principal, written, keyRing));
    }
    // Somebody else wrote in between: apply the change to what stands there now.
    read = await getInstanceById(context.env.DB, instance_id);
    if (read === null) {
      throw notFound(`there is no instance ${instance_id}`);
    }
  }
  throw conflict('this instance is being changed by others; try again');
}

export async function removeInstance(
  context: AuthenticatedContext,
  { instance_id }: InstancePath,
): Promise<Response> {
  await loadManagedInstance(context, instance_id);
  await deleteInstance(context.env.DB, instance_id);
  await invalidateInstanceConfigs(context.env.CONFIG_CACHE, [instance_id], context.report);
  return answer(context, { deleted: true, instance_id });
}
