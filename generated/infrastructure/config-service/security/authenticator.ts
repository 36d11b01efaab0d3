// From a credential to a principal: the one place where it is decided, for this service and for the auth middleware.
import { findKeyHolderByHash, touchApiKey } from '@/infrastructure/database/queries';
import { equalsInConstantTime, hashKey, isWellFormedKey } from './credentials';
import { type KeyPrincipal, type Principal, principalOf } from './policy';

export const SERVICE_TOKEN_CHARACTERS_MIN = 32;
/** A key's last use is written at most this often: one write for many requests. */
const LAST_USE_RESOLUTION_MS = 60_000;

export type AuthenticationFailure = 'missing' | 'malformed' | 'unknown' | 'revoked' | 'expired';

export type AuthenticationResult<Kind extends Principal = Principal> =
  | { principal: Kind }
  | { failure: AuthenticationFailure };

export interface KeyAuthentication {
  database: D1Database;
  now: Date;
  /** Takes work that may end after the answer, such as `ExecutionContext.waitUntil`. */
  defer: (work: Promise<void>) => void;
  /** Told when the deferred work fails; the request itself is not affected. */
  report: (error: unknown) => void;
}

/** The credential of `Authorization: Bearer <credential>`, or null if there is none. */
export function bearerCredential(request: Request): string | null {
  const header = request.headers.get('Authorization') ?? '';
  const match = /^bearer +(\S+) *$/i.exec(header);
  return match?.[1] ?? null;
}

function isFresh(lastUsedAt: string | null, now: Date): boolean {
  return lastUsedAt !== null && now.getTime() - Date.parse(lastUsedAt) < LAST_USE_RESOLUTION_MS;
}

/** Checks a platform key. One that is malformed costs no query. Rejects if the database fails. */
export async function authenticateKey(
  key: string | null,
  { database, now, defer, report }: KeyAuthentication,
): Promise<AuthenticationResult<KeyPrincipal>> {
  if (key === null || key === '') {
    return { failure: 'missing' };
  }
  if (!isWellFormedKey(key)) {
    return { failure: 'malformed' };
  }
  const hash = await hashKey(key);
  const holder = await findKeyHolderByHash(database, hash);
  // The index has compared the hashes already; comparing again keeps the decision off its collation and timing.
  if (holder === null || !(await equalsInConstantTime(holder.key_hash, hash))) {
    return { failure: 'unknown' };
  }
  if (holder.revoked_at !== null) {
    return { failure: 'revoked' };
  }
  if (holder.expires_at !== null && Date.parse(holder.expires_at) <= now.getTime()) {
    return { failure: 'expired' };
  }
  if (!isFresh(holder.last_used_at, now)) {
    defer(touchApiKey(database, holder.key_id, now.toISOString()).catch(report));
  }
  return { principal: principalOf(holder) };
}

/** Checks the service token or, failing that, a platform key. */
export async function authenticateCredential(
  credential: string | null,
  serviceToken: string | undefined,
  dependencies: KeyAuthentication,
): Promise<AuthenticationResult> {
  if (
    credential !== null &&
    serviceToken !== undefined &&
    serviceToken.length >= SERVICE_TOKEN_CHARACTERS_MIN &&
    (await equalsInConstantTime(credential, serviceToken))
  ) {
    return { principal: { kind: 'service' } };
  }
  return await authenticateKey(credential, dependencies);
}
