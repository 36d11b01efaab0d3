// Platform keys: stored as hashes, found by hash, kept as a record after they are revoked.
import { parseTextArray } from '../json';
import { type Condition, listPage, type Page, type PageRequest } from '../pagination';
import type { ApiKey, KeyHolder, Timestamp } from '../types';

const COLUMNS =
  'key_id, user_id, project_id, name, key_prefix, created_by, created_at, last_used_at, expires_at, revoked_at';

/**
 * The key with this hash and whom it stands for, in one statement, since every authenticated request pays for it.
 * Revoked and expired keys are found too: the caller decides, by its own clock.
 */
export async function findKeyHolderByHash(
  database: D1Database,
  keyHash: string,
): Promise<KeyHolder | null> {
  const row = await database
    .prepare(
      `SELECT keys.key_id, keys.key_hash, keys.last_used_at, keys.expires_at, keys.revoked_at,
         keys.user_id, users.email, coalesce(users.role, 'user') AS role,
         coalesce(users.org_id, instances.org_id) AS org_id, keys.project_id,
         CASE
           WHEN keys.project_id IS NOT NULL THEN json_array(projects.instance_id)
           WHEN users.role = 'user' THEN
             (SELECT json_group_array(instance_id) FROM
               (SELECT instance_id FROM user_instance_access AS access
                WHERE access.user_id = keys.user_id ORDER BY instance_id))
           ELSE
             (SELECT json_group_array(instance_id) FROM
               (SELECT instance_id FROM instances AS own
                WHERE own.org_id = users.org_id ORDER BY instance_id))
         END AS instances
       FROM api_keys AS keys
       LEFT JOIN users ON users.user_id = keys.user_id
       LEFT JOIN projects ON projects.project_id = keys.project_id
       LEFT JOIN instances ON instances.instance_id = projects.instance_id
       WHERE keys.key_hash = ?`,
    )
    .bind(keyHash)
    .first<Omit<KeyHolder, 'instances'> & { instances: string }>();
  return row === null ? null : { ...row, instances: parseTextArray(row.instances) };
}

export async function getApiKeyById(database: D1Database, keyId: string): Promise<ApiKey | null> {
  return await database
    .prepare(`SELECT ${COLUMNS} FROM api_keys WHERE key_id = ?`)
    .bind(keyId)
    .first<ApiKey>();
}

export type KeyOwner = { user_id: string } | { project_id: string };

export async function listApiKeys(
  database: D1Database,
  owner: KeyOwner,
  page: PageRequest,
): Promise<Page<ApiKey>> {
  const condition: Condition =
    'user_id' in owner
      ? { sql: 'user_id = ?', values: [owner.user_id] }
      : { sql: 'project_id = ?', values: [owner.project_id] };
  return await listPage<ApiKey, ApiKey>(database, {
    select: `SELECT ${COLUMNS} FROM api_keys`,
    createdAtColumn: 'created_at',
    idColumn: 'key_id',
    conditions: [condition],
    page,
    toItem: (row) => row,
    positionOf: (item) => ({ created_at: item.created_at, id: item.key_id }),
  });
}

export interface NewApiKey {
  key_id: string;
  owner: KeyOwner;
  name: string;
  key_hash: string;
  key_prefix: string;
  created_by: string | null;
  created_at: Timestamp;
  expires_at: Timestamp | null;
}

export async function insertApiKey(database: D1Database, key: NewApiKey): Promise<ApiKey> {
  const userId = 'user_id' in key.owner ? key.owner.user_id : null;
  const projectId = 'project_id' in key.owner ? key.owner.project_id : null;
  await database
    .prepare(
      `INSERT INTO api_keys
         (key_id, user_id, project_id, name, key_hash, key_prefix, created_by, created_at, expires_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    .bind(
      key.key_id,
      userId,
      projectId,
      key.name,
      key.key_hash,
      key.key_prefix,
      key.created_by,
      key.created_at,
      key.expires_at,
    )
    .run();
  return {
    key_id: key.key_id,
    user_id: userId,
    project_id: projectId,
    name: key.name,
    key_prefix: key.key_prefix,
    created_by: key.created_by,
    created_at: key.created_at,
    last_used_at: null,
    expires_at: key.expires_at,
    revoked_at: null,
  };
}

/** Revokes the key; one that is revoked already keeps its first date. Null if there is no such key. */
export async function revokeApiKey(
  database: D1Database,
  keyId: string,
  revokedAt: Timestamp,
): Promise<ApiKey | null> {
  return await database
    .prepare(
      `UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE key_id = ? RETURNING ${COLUMNS}`,
    )
    .bind(revokedAt, keyId)
    .first<ApiKey>();
}

/** Notes a use of the key, unless a later one is noted already. */
export async function touchApiKey(
  database: D1Database,
  keyId: string,
  usedAt: Timestamp,
): Promise<void> {
  await database
    .prepare(
      'UPDATE api_keys SET last_used_at = ?1 WHERE key_id = ?2 AND (last_used_at IS NULL OR last_used_at < ?1)',
    )
    .bind(usedAt, keyId)
    .run();
}
