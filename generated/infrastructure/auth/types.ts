// What an authenticated request carries, and the questions to ask of it.
import type { AuthenticationFailure } from '@/infrastructure/config-service/security/authenticator';
import {
  canReadInstance,
  canReadProject,
  type KeyPrincipal,
  managesOrganization,
  type Permission,
  permissionsOf,
} from '@/infrastructure/config-service/security/policy';
import type { Role } from '@/infrastructure/database/queries';

export type { AuthenticationFailure } from '@/infrastructure/config-service/security/authenticator';
export type { Permission } from '@/infrastructure/config-service/security/policy';

/** Whom the key of a request stands for. The key of a project stands for no person: it has a project and no user id. */
export interface User {
  user_id: string | null;
  email: string | null;
  role: Role;
  org_id: string;
  project_id: string | null;
}

export interface AuthContext {
  user: User;
  /** Ids of the instances within reach; a superadmin reaches those of other organisations as well. */
  instances: readonly string[];
  permissions: readonly Permission[];
  /** The id of the key, for logs: it tells nothing about the key. */
  keyId: string;
  principal: KeyPrincipal;
}

export type AuthResult =
  | ({ authorized: true; auth: AuthContext } & Pick<
      AuthContext,
      'user' | 'instances' | 'permissions'
    >)
  | {
      authorized: false;
      status: 401;
      reason: AuthenticationFailure;
      /** Ready to be sent. */
      response: Response;
    };

/** What authentication needs of a Worker's bindings. */
export interface AuthEnv {
  DB: D1Database;
}

export function authContextOf(principal: KeyPrincipal): AuthContext {
  const isUser = principal.kind === 'user';
  return {
    user: {
      user_id: isUser ? principal.user_id : null,
      email: isUser ? principal.email : null,
      role: isUser ? principal.role : 'user',
      org_id: principal.org_id,
      project_id: isUser ? null : principal.project_id,
    },
    instances: principal.instances,
    permissions: permissionsOf(principal),
    keyId: principal.key_id,
    principal,
  };
}

export function hasPermission(auth: AuthContext, permission: Permission): boolean {
  return auth.permissions.includes(permission);
}

export function canAccessInstance(
  auth: AuthContext,
  instance: { instance_id: string; org_id: string },
): boolean {
  return canReadInstance(auth.principal, instance);
}

export function canAccessProject(
  auth: AuthContext,
  project: { project_id: string; instance_id: string; org_id: string },
): boolean {
  return canReadProject(auth.principal, project);
}

export function canManageOrganization(auth: AuthContext, orgId: string): boolean {
  return managesOrganization(auth.principal, orgId);
}
