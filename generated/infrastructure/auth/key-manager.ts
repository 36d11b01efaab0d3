// The life of platform keys, for Workers and scripts: making, checking the form, hashing, comparing, storing, revoking.
// The form and the hash are those of the Config Service: a key made by either is a key for both.
import {
  equalsInConstantTime,
  type GeneratedKey,
  generateKey,
  hashKey,
  isWellFormedKey,
} from '@/infrastructure/config-service/security/credentials';
import { issueKey } from '@/infrastructure/config-service/security/key-store';
import { type ApiKey, type KeyOwner, revokeApiKey } from '@/infrastructure/database/queries';

export type { GeneratedKey } from '@/infrastructure/config-service/security/credentials';

export async function generateApiKey(): Promise<GeneratedKey> {
  return await generateKey();
}

export async function hashApiKey(key: string): Promise<string> {
  return await hashKey(key);
}

/** Form and checksum only: a mistyped or shortened key is found out without asking the database. */
export function validateKeyFormat(key: string): boolean {
  return isWellFormedKey(key);
}

/** Whether `key` is the one that was stored as `storedHash`, in a time that tells nothing about either. */
export async function verifyApiKey(key: string, storedHash: string): Promise<boolean> {
  return validateKeyFormat(key) && (await equalsInConstantTime(await hashKey(key), storedHash));
}

export interface KeyManagerOptions {
  database: D1Database;
  now?: () => Date;
  newId?: () => string;
}

export interface IssueOptions {
  name?: string;
  /** The user that asked for it. */
  createdBy?: string | null;
  expiresAt?: Date | null;
}

export interface KeyManager {
  /** Stores a new key and returns it: the only time that it is to be seen. */
  issue: (owner: KeyOwner, options?: IssueOptions) => Promise<{ key: string; record: ApiKey }>;
  /** Revokes at once and for good; null if there is no such key. */
  revoke: (keyId: string) => Promise<ApiKey | null>;
}

export function createKeyManager({
  database,
  now = () => new Date(),
  newId = () => crypto.randomUUID(),
}: KeyManagerOptions): KeyManager {
  return {
    async issue(owner, { name = '', createdBy = null, expiresAt = null } = {}) {
      const issuedAt = now();
      if (expiresAt !== null && expiresAt <= issuedAt) {
        throw new RangeError('a key must expire in the future');
      }
      return await issueKey(database, {
        key_id: newId(),
        owner,
        name,
        created_by: createdBy,
        created_at: issuedAt.toISOString(),
        expires_at: expiresAt?.toISOString() ?? null,
      });
    },
    async revoke(keyId) {
      return await revokeApiKey(database, keyId, now().toISOString());
    },
  };
}
