// Whose logs and metrics an administrator sees when it names no instance.
import type { Principal } from '../security/policy';

/** The organisation of an admin; undefined for a superadmin, who sees all. */
export function ownOrganization(principal: Principal): string | undefined {
  return principal.kind === 'user' && principal.role !== 'superadmin'
    ? principal.org_id
    : undefined;
}
