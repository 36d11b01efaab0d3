// Organisations: superadmins make and delete them, admins keep their own.
import * as v from 'valibot';
import {
  deleteOrganization,
  insertOrganization,
  listOrganizations,
  updateOrganization,
} from '@/infrastructure/database/queries';
import { readBody } from '../http/body';
import { type AuthenticatedContext, answer, answerCreated, timestampOf } from '../http/context';
import { notFound } from '../http/errors';
import { objectOf } from '../http/objects';
import { pageBody, readPageRequest } from '../http/paging';
import type { PathParameters } from '../http/router';
import {
  Email,
  hasSomeField,
  Identifier,
  loadManagedOrganization,
  loadOrganization,
  Name,
  NO_FIELD,
  orConflict,
} from './support';

type OrganizationPath = PathParameters<'/organization/:org_id'>;

const NewOrganizationBody = objectOf({
  org_id: v.optional(Identifier),
  name: Name,
  billing_email: Email,
});

const OrganizationChangeBody = v.pipe(
  objectOf({ name: v.optional(Name), billing_email: v.optional(Email) }),
  v.check(hasSomeField, NO_FIELD),
);

export async function getOrganizations(context: AuthenticatedContext): Promise<Response> {
  const { principal } = context;
  const ownOnly = principal.kind === 'user' && principal.role === 'admin';
  const page = await listOrganizations(
    context.env.DB,
    readPageRequest(context.url.searchParams),
    ownOnly ? { orgId: principal.org_id } : {},
  );
  return answer(context, pageBody(page));
}

export async function createOrganization(context: AuthenticatedContext): Promise<Response> {
  const body = await readBody(context.request, NewOrganizationBody);
  const organization = {
    org_id: body.org_id ?? context.newId(),
    name: body.name,
    billing_email: body.billing_email,
    created_at: timestampOf(context),
    updated_at: timestampOf(context),
  };
  await orConflict('this org_id is taken', insertOrganization(context.env.DB, organization));
  return answerCreated(context, `/organization/${organization.org_id}`, organization);
}

export async function getOrganization(
  context: AuthenticatedContext,
  { org_id }: OrganizationPath,
): Promise<Response> {
  return answer(context, await loadManagedOrganization(context, org_id));
}

export async function changeOrganization(
  context: AuthenticatedContext,
  { org_id }: OrganizationPath,
): Promise<Response> {
  await loadManagedOrganization(context, org_id);
  const change = await readBody(context.request, OrganizationChangeBody);
  const organization = await updateOrganization(context.env.DB, org_id, {
    ...change,
    updated_at: timestampOf(context),
  });
  if (organization === null) {
    throw notFound(`there is no organization ${org_id}`);
  }
  return answer(context, organization);
}

export async function removeOrganization(
  context: AuthenticatedContext,
  { org_id }: OrganizationPath,
): Promise<Response> {
  await loadOrganization(context, org_id);
  await orConflict(
    'this organization still has instances, users or usage',
    deleteOrganization(context.env.DB, org_id),
  );
  return answer(context, { deleted: true, org_id });
}
