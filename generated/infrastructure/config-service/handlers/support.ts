// What the handlers share: loading a resource with its 404 and 403, and answering for a constraint of the database.

import * as v from 'valibot';
import {
  getInstanceById,
  getOrganizationById,
  getProjectById,
  getUserById,
  type Instance,
  type Organization,
  type Project,
  type User,
  violatedConstraint,
} from '@/infrastructure/database/queries';
import type { AuthenticatedContext } from '../http/context';
import { conflict, forbidden, notFound } from '../http/errors';
import { IDENTIFIER } from '../http/router';
import { managesOrganization } from '../security/policy';

/** No control characters and no halves of surrogate pairs: SQLite and UTF-8 would not keep them as they are. */
const PRINTABLE = /^[^\p{Cc}\p{Cs}]*$/u;
export const Label = v.pipe(
  v.string(),
  v.trim(),
  v.maxLength(100),
  v.regex(PRINTABLE, 'must be printable text'),
);
export const Name = v.pipe(Label, v.minLength(1));
export const Identifier = v.pipe(v.string(), v.regex(IDENTIFIER, 'must be an identifier'));
export const Email = v.pipe(
  v.string(),
  v.maxLength(254),
  v.regex(/^[^\s@]+@[^\s@]+\.[^\s@]+$/, 'must be an email address'),
  v.regex(PRINTABLE, 'must be printable text'),
  v.toLowerCase(),
);

const TIMESTAMP_START = /^\d{4}-/;

/** True for a time in the one form that the system uses, of a day that exists. */
function isTimestamp(text: string): boolean {
  const time = new Date(text);
  // A year beyond four digits has a sign and comes back as it was sent; it would spoil the order of texts.
  return TIMESTAMP_START.test(text) && !Number.isNaN(time.getTime()) && time.toISOString() === text;
}
export const Time = v.pipe(
  v.string(),
  v.check(isTimestamp, 'must be a time like 2026-01-31T09:30:00.000Z'),
);

/** For changes: an object without any field asks for nothing. */
export function hasSomeField<Value extends object>(value: Value): boolean {
  return Object.values(value).some((field) => field !== undefined);
}
export const NO_FIELD = 'at least one field must be given';

/** What `read` finds for this id, else a 404. One that cannot exist is neither asked for nor repeated. */
export async function load<Resource>(
  context: AuthenticatedContext,
  kind: string,
  id: string,
  read: (database: D1Database, id: string) => Promise<Resource | null>,
): Promise<Resource> {
  if (!IDENTIFIER.test(id)) {
    throw notFound(`there is no such ${kind}`);
  }
  const resource = await read(context.env.DB, id);
  if (resource === null) {
    throw notFound(`there is no ${kind} ${id}`);
  }
  return resource;
}

export async function loadOrganization(
  context: AuthenticatedContext,
  orgId: string,
): Promise<Organization> {
  return await load(context, 'organization', orgId, getOrganizationById);
}

/** The organisation, if it exists and the caller administers it. */
export async function loadManagedOrganization(
  context: AuthenticatedContext,
  orgId: string,
): Promise<Organization> {
  const organization = await loadOrganization(context, orgId);
  if (!managesOrganization(context.principal, orgId)) {
    throw forbidden('this organization is not yours');
  }
  return organization;
}

export async function loadInstance(
  context: AuthenticatedContext,
  instanceId: string,
): Promise<Instance> {
  return await load(context, 'instance', instanceId, getInstanceById);
}

/** The instance, if it exists and the caller administers it. */
export async function loadManagedInstance(
  context: AuthenticatedContext,
  instanceId: string,
): Promise<Instance> {
  const instance = await loadInstance(context, instanceId);
  if (!managesOrganization(context.principal, instance.org_id)) {
    throw forbidden('this instance belongs to another organization');
  }
  return instance;
}

export async function loadUser(context: AuthenticatedContext, userId: string): Promise<User> {
  return await load(context, 'user', userId, getUserById);
}

export async function loadProject(
  context: AuthenticatedContext,
  projectId: string,
): Promise<Project> {
  return await load(context, 'project', projectId, getProjectById);
}

/** The project, if it exists and the caller administers it. */
export async function loadManagedProject(
  context: AuthenticatedContext,
  projectId: string,
): Promise<Project> {
  const project = await loadProject(context, projectId);
  if (!managesOrganization(context.principal, project.org_id)) {
    throw forbidden('this project belongs to another organization');
  }
  return project;
}

/** Runs a write; a violated unique or foreign key becomes a 409 with this message. */
export async function orConflict<Result>(message: string, write: Promise<Result>): Promise<Result> {
  try {
    return await write;
  } catch (error) {
    const kind = violatedConstraint(error);
    if (kind === 'unique' || kind === 'foreign_key') {
      throw conflict(message);
    }
    throw error;
  }
}
