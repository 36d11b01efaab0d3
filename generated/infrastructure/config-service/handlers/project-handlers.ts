// Projects: named pieces of work inside an instance.
import * as v from 'valibot';
import {
  deleteProject,
  insertProject,
  type JsonObject,
  type JsonValue,
  listProjects,
  type Project,
  updateProject,
} from '@/infrastructure/database/queries';
import { readBody } from '../http/body';
import { type AuthenticatedContext, answer, answerCreated, timestampOf } from '../http/context';
import { forbidden } from '../http/errors';
import { isObject, objectOf } from '../http/objects';
import { pageBody, readPageRequest } from '../http/paging';
import type { PathParameters } from '../http/router';
import { canReadInstance, canReadProject, type Principal } from '../security/policy';
import {
  hasSomeField,
  Identifier,
  loadInstance,
  loadManagedInstance,
  loadManagedProject,
  loadProject,
  Name,
  NO_FIELD,
  orConflict,
} from './support';

type ProjectPath = PathParameters<'/project/:project_id'>;

const SETTINGS_CHARACTERS_MAX = 16 * 1024;

/** SQLite reads JSON to a depth of 1000; nobody means more than this. */
const SETTINGS_DEPTH_MAX = 32;

/** Stops at the limit, so that it never goes deeper than that itself. */
function isNestedAtMost(value: JsonValue, levels: number): boolean {
  if (value === null || typeof value !== 'object') {
    return true;
  }
  return levels > 0 && Object.values(value).every((inner) => isNestedAtMost(inner, levels - 1));
}

// What is inside was parsed from JSON, so that it is JSON.
const Settings = v.pipe(
  v.custom<JsonObject>(isObject, 'must be an object'),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) {
      return;
    }
    // In this order: writing what is nested too deeply could exhaust the stack.
    if (!isNestedAtMost(dataset.value, SETTINGS_DEPTH_MAX)) {
      addIssue({ message: `may be nested ${SETTINGS_DEPTH_MAX} levels deep` });
    } else if (JSON.stringify(dataset.value).length > SETTINGS_CHARACTERS_MAX) {
      addIssue({ message: `may have ${SETTINGS_CHARACTERS_MAX} characters as JSON` });
    }
  }),
);

const NewProjectBody = objectOf({
  project_id: v.optional(Identifier),
  instance_id: Identifier,
  name: Name,
  settings: v.optional(Settings, {}),
});

const ProjectChangeBody = v.pipe(
  objectOf({ name: v.optional(Name), settings: v.optional(Settings) }),
  v.check(hasSomeField, NO_FIELD),
);

function present(project: Project): Omit<Project, 'org_id'> {
  const { org_id: _, ...visible } = project;
  return visible;
}

function scopeOf(principal: Principal): Parameters<typeof listProjects>[2] {
  if (principal.kind === 'project') {
    return { projectId: principal.project_id };
  }
  if (principal.kind === 'service' || principal.role === 'superadmin') {
    return {};
  }
  return principal.role === 'admin'
    ? { orgId: principal.org_id }
    : { accessibleTo: principal.user_id };
}

export async function getProjects(context: AuthenticatedContext): Promise<Response> {
  const { principal, url } = context;
  const page = readPageRequest(url.searchParams);
  const instanceId = url.searchParams.get('instance_id');
  if (instanceId !== null) {
    const instance = await loadInstance(context, instanceId);
    if (!canReadInstance(principal, instance)) {
      throw forbidden('you have no access to this instance');
    }
  }
  const found = await listProjects(context.env.DB, page, {
    ...(instanceId === null ? {} : { instanceId }),
    ...scopeOf(principal),
  });
  return answer(context, pageBody({ items: found.items.map(present), next: found.next }));
}

export async function createProject(context: AuthenticatedContext): Promise<Response> {
  const body = await readBody(context.request, NewProjectBody);
  await loadManagedInstance(context, body.instance_id);
  const project = {
    project_id: body.project_id ?? context.newId(),
    instance_id: body.instance_id,
    name: body.name,
    settings: body.settings,
    created_at: timestampOf(context),
  };
  await orConflict(
    'this project_id, or this name within the instance, is taken',
    insertProject(context.env.DB, project),
  );
  return answerCreated(context, `/project/${project.project_id}`, {
    ...project,
    updated_at: project.created_at,
  });
}

export async function getProject(
  context: AuthenticatedContext,
  { project_id }: ProjectPath,
): Promise<Response> {
  const project = await loadProject(context, project_id);
  if (!canReadProject(context.principal, project)) {
    throw forbidden('you have no access to this project');
  }
  return answer(context, present(project));
}

export async function changeProject(
  context: AuthenticatedContext,
  { project_id }: ProjectPath,
): Promise<Response> {
  await loadManagedProject(context, project_id);
  const change = await readBody(context.request, ProjectChangeBody);
  await orConflict(
    'this name is taken within the instance',
    updateProject(context.env.DB, project_id, { ...change, updated_at: timestampOf(context) }),
  );
  return answer(context, present(await loadProject(context, project_id)));
}

export async function removeProject(
  context: AuthenticatedContext,
  { project_id }: ProjectPath,
): Promise<Response> {
  await loadManagedProject(context, project_id);
  await deleteProject(context.env.DB, project_id);
  return answer(context, { deleted: true, project_id });
}
