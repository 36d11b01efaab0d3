// Who may do what: pure rules over a principal, used by this service and by every Worker that authenticates a request.
import type { KeyHolder, Role } from '@/infrastructure/database/queries';

export interface UserPrincipal {
  kind: 'user';
  key_id: string;
  user_id: string;
  email: string;
  role: Role;
  org_id: string;
  instances: readonly string[];
}

/** The holder of a project's key: no person, one project, one instance. */
export interface ProjectPrincipal {
  kind: 'project';
  key_id: string;
  project_id: string;
  org_id: string;
  instances: readonly string[];
}

/** One of our own Workers. */
export interface ServicePrincipal {
  kind: 'service';
}

export type KeyPrincipal = UserPrincipal | ProjectPrincipal;
export type Principal = KeyPrincipal | ServicePrincipal;

/** The columns of the table of rights: the role of a user, or the kind of a caller that is none. */
export type Actor = Role | 'project' | 'service';

export type Permission =
  | 'access:write'
  | 'image:generate'
  | 'instance:read'
  | 'instance:write'
  | 'key:write'
  | 'organization:create'
  | 'organization:read'
  | 'organization:write'
  | 'project:read'
  | 'project:write'
  | 'user:read'
  | 'user:write';

const PROJECT_PERMISSIONS = ['image:generate', 'instance:read', 'project:read'] as const;
const USER_PERMISSIONS = [...PROJECT_PERMISSIONS, 'key:write', 'user:read'] as const;
const ADMIN_PERMISSIONS = [
  ...USER_PERMISSIONS,
  'access:write',
  'instance:write',
  'organization:read',
  'organization:write',
  'project:write',
  'user:write',
] as const;

const PERMISSIONS: Record<Actor, readonly Permission[]> = {
  project: PROJECT_PERMISSIONS,
  user: USER_PERMISSIONS,
  admin: ADMIN_PERMISSIONS,
  superadmin: [...ADMIN_PERMISSIONS, 'organization:create'],
  service: ['instance:read', 'project:read'],
};

export function principalOf(holder: KeyHolder): KeyPrincipal {
  const { key_id, org_id, instances } = holder;
  if (holder.project_id !== null) {
    return { kind: 'project', key_id, project_id: holder.project_id, org_id, instances };
  }
  if (holder.user_id === null || holder.email === null) {
    throw new Error(`the key ${key_id} belongs to neither a user nor a project`);
  }
  return {
    kind: 'user',
    key_id,
    user_id: holder.user_id,
    email: holder.email,
    role: holder.role,
    org_id,
    instances,
  };
}

export function actorOf(principal: Principal): Actor {
  return principal.kind === 'user' ? principal.role : principal.kind;
}

export function permissionsOf(principal: Principal): Permission[] {
  return PERMISSIONS[actorOf(principal)].toSorted();
}

/** Administers what belongs to this organisation. */
export function managesOrganization(principal: Principal, orgId: string): boolean {
  if (principal.kind !== 'user') {
    return false;
  }
  return (
    principal.role === 'superadmin' || (principal.role === 'admin' && principal.org_id === orgId)
  );
}

export function canReadInstance(
  principal: Principal,
  instance: { instance_id: string; org_id: string },
): boolean {
  if (principal.kind === 'service') {
    return true;
  }
  return (
    managesOrganization(principal, instance.org_id) ||
    // A project's only instance is in its list, as are those given to a user; an admin's list is its organisation's.
    principal.instances.includes(instance.instance_id)
  );
}

export function canReadProject(
  principal: Principal,
  project: { project_id: string; instance_id: string; org_id: string },
): boolean {
  if (principal.kind === 'project') {
    return principal.project_id === project.project_id;
  }
  return canReadInstance(principal, project);
}

/** May edit or delete this user: an admin never touches a superadmin. */
export function managesUser(principal: Principal, user: { org_id: string; role: Role }): boolean {
  if (!managesOrganization(principal, user.org_id)) {
    return false;
  }
  return user.role !== 'superadmin' || actorOf(principal) === 'superadmin';
}

export function isSelf(principal: Principal, userId: string): boolean {
  return principal.kind === 'user' && principal.user_id === userId;
}

export function canReadUser(
  principal: Principal,
  user: { user_id: string; org_id: string },
): boolean {
  return isSelf(principal, user.user_id) || managesOrganization(principal, user.org_id);
}

export function managesKeysOfUser(
  principal: Principal,
  user: { user_id: string; org_id: string; role: Role },
): boolean {
  return isSelf(principal, user.user_id) || managesUser(principal, user);
}
