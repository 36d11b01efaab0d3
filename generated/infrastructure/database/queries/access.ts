// Which users have been given access to which instances.
import { listPage, type Page, type PageRequest } from '../pagination';
import type { InstanceAccess, Timestamp } from '../types';

const SELECT = `SELECT access.instance_id, access.user_id, users.email, users.role, access.granted_by, access.created_at
  FROM user_instance_access AS access JOIN users ON users.user_id = access.user_id`;

export async function getInstanceAccess(
  database: D1Database,
  instanceId: string,
  userId: string,
): Promise<InstanceAccess | null> {
  return await database
    .prepare(`${SELECT} WHERE access.instance_id = ? AND access.user_id = ?`)
    .bind(instanceId, userId)
    .first<InstanceAccess>();
}

export async function listInstanceAccess(
  database: D1Database,
  instanceId: string,
  page: PageRequest,
): Promise<Page<InstanceAccess>> {
  return await listPage<InstanceAccess, InstanceAccess>(database, {
    select: SELECT,
    createdAtColumn: 'access.created_at',
    idColumn: 'access.user_id',
    conditions: [{ sql: 'access.instance_id = ?', values: [instanceId] }],
    page,
    toItem: (row) => row,
    positionOf: (item) => ({ created_at: item.created_at, id: item.user_id }),
  });
}

/** Gives access; a grant that is there already keeps its first date and granter. */
export async function grantInstanceAccess(
  database: D1Database,
  grant: {
    instance_id: string;
    user_id: string;
    granted_by: string | null;
    created_at: Timestamp;
  },
): Promise<void> {
  await database
    .prepare(
      `INSERT INTO user_instance_access (user_id, instance_id, granted_by, created_at) VALUES (?, ?, ?, ?)
       ON CONFLICT (user_id, instance_id) DO NOTHING`,
    )
    .bind(grant.user_id, grant.instance_id, grant.granted_by, grant.created_at)
    .run();
}

/** False if there was no such grant. */
export async function revokeInstanceAccess(
  database: D1Database,
  instanceId: string,
  userId: string,
): Promise<boolean> {
  const { meta } = await database
    .prepare('DELETE FROM user_instance_access WHERE instance_id = ? AND user_id = ?')
    .bind(instanceId, userId)
    .run();
  return meta.changes > 0;
}
