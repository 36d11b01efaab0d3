// The questions to ask of an authenticated request.
import { describe, expect, test } from 'vitest';
import {
  type AuthContext,
  authContextOf,
  canAccessInstance,
  canAccessProject,
  canManageOrganization,
  hasPermission,
} from '@/infrastructure/auth/types';
import type { Role } from '@/infrastructure/database/queries';

function userAuth(role: Role, instances: string[]): AuthContext {
  return authContextOf({
    kind: 'user',
    key_id: 'k',
    user_id: 'u',
    email: 'u@example.com',
    role,
    org_id: 'own',
    instances,
  });
}

const projectAuth = authContextOf({
  kind: 'project',
  key_id: 'k',
  project_id: 'p',
  org_id: 'own',
  instances: ['a'],
});

const instance = (instance_id: string, org_id = 'own') => ({ instance_id, org_id });
const project = (project_id: string, instance_id: string, org_id = 'own') => ({
  project_id,
  instance_id,
  org_id,
});

describe('permissions', () => {
  test('everybody with a key generates images; only administrators write configuration', () => {
    for (const auth of [userAuth('user', []), userAuth('admin', []), projectAuth]) {
      expect(hasPermission(auth, 'image:generate')).toBe(true);
    }
    expect(hasPermission(projectAuth, 'instance:write')).toBe(false);
    expect(hasPermission(userAuth('user', []), 'instance:write')).toBe(false);
    expect(hasPermission(userAuth('admin', []), 'instance:write')).toBe(true);
    expect(hasPermission(userAuth('admin', []), 'organization:create')).toBe(false);
    expect(hasPermission(userAuth('superadmin', []), 'organization:create')).toBe(true);
  });
});

describe('access', () => {
  test('a user reaches the instances it was given', () => {
    const auth = userAuth('user', ['a']);
    expect(canAccessInstance(auth, instance('a'))).toBe(true);
    expect(canAccessInstance(auth, instance('b'))).toBe(false);
    expect(canAccessProject(auth, project('p', 'a'))).toBe(true);
    expect(canAccessProject(auth, project('p', 'b'))).toBe(false);
    expect(canManageOrganization(auth, 'own')).toBe(false);
  });

  test('an admin reaches its organisation, a superadmin every one', () => {
    const admin = userAuth('admin', []);
    expect(canAccessInstance(admin, instance('b'))).toBe(true);
    expect(canAccessInstance(admin, instance('b', 'other'))).toBe(false);
    expect(canManageOrganization(admin, 'own')).toBe(true);
    expect(canManageOrganization(admin, 'other')).toBe(false);
    const superadmin = userAuth('superadmin', []);
    expect(canAccessInstance(superadmin, instance('b', 'other'))).toBe(true);
    expect(canManageOrganization(superadmin, 'other')).toBe(true);
  });

  test("a project's key reaches its project and instance, not its neighbours", () => {
    expect(canAccessInstance(projectAuth, instance('a'))).toBe(true);
    expect(canAccessInstance(projectAuth, instance('b'))).toBe(false);
    expect(canAccessProject(projectAuth, project('p', 'a'))).toBe(true);
    expect(canAccessProject(projectAuth, project('q', 'a'))).toBe(false);
    expect(canManageOrganization(projectAuth, 'own')).toBe(false);
  });
});
