// Instances and their configuration.
import { parseJsonObject, parseTextArray } from '../json';
import { type Condition, listPage, type Page, type PageRequest } from '../pagination';
import type { Instance, JsonObject, Timestamp } from '../types';

type InstanceRow = Omit<Instance, 'config' | 'authorized_users'> & {
  config: string;
  authorized_users: string;
};

const COLUMNS = `instances.instance_id, instances.org_id, instances.name, instances.config, instances.version,
  instances.created_at, instances.updated_at,
  (SELECT json_group_array(user_id) FROM
    (SELECT user_id FROM user_instance_access AS access
     WHERE access.instance_id = instances.instance_id ORDER BY user_id)) AS authorized_users`;

function toInstance(row: InstanceRow): Instance {
  return {
    ...row,
    config: parseJsonObject(row.config),
    authorized_users: parseTextArray(row.authorized_users),
  };
}

export async function getInstanceById(
  database: D1Database,
  instanceId: string,
): Promise<Instance | null> {
  const row = await database
    .prepare(`SELECT ${COLUMNS} FROM instances WHERE instance_id = ?`)
    .bind(instanceId)
    .first<InstanceRow>();
  return row === null ? null : toInstance(row);
}

export interface InstanceFilter {
  orgId?: string | undefined;
  instanceId?: string | undefined;
  /** Only instances that this user has been given access to. */
  accessibleTo?: string | undefined;
}

export async function listInstances(
  database: D1Database,
  page: PageRequest,
  filter: InstanceFilter = {},
): Promise<Page<Instance>> {
  const conditions: Condition[] = [];
  if (filter.orgId !== undefined) {
    conditions.push({ sql: 'instances.org_id = ?', values: [filter.orgId] });
  }
  if (filter.instanceId !== undefined) {
    conditions.push({ sql: 'instances.instance_id = ?', values: [filter.instanceId] });
  }
  if (filter.accessibleTo !== undefined) {
    conditions.push({
      sql: 'instances.instance_id IN (SELECT instance_id FROM user_instance_access WHERE user_id = ?)',
      values: [filter.accessibleTo],
    });
  }
  return await listPage<InstanceRow, Instance>(database, {
    select: `SELECT ${COLUMNS} FROM instances`,
    createdAtColumn: 'instances.created_at',
    idColumn: 'instances.instance_id',
    conditions,
    page,
    toItem: toInstance,
    positionOf: (item) => ({ created_at: item.created_at, id: item.instance_id }),
  });
}

export interface NewInstance {
  instance_id: string;
  org_id: string;
  name: string;
  config: JsonObject;
  created_at: Timestamp;
}

/** Fails with a unique violation if the id is taken, with a foreign key violation if the organisation is unknown. */
export async function insertInstance(
  database: D1Database,
  instance: NewInstance,
): Promise<Instance> {
  await database
    .prepare(
      `INSERT INTO instances (instance_id, org_id, name, config, version, created_at, updated_at)
       VALUES (?, ?, ?, ?, 1, ?, ?)`,
    )
    .bind(
      instance.instance_id,
      instance.org_id,
      instance.name,
      JSON.stringify(instance.config),
      instance.created_at,
      instance.created_at,
    )
    .run();
  return { ...instance, version: 1, authorized_users: [], updated_at: instance.created_at };
}

/**
 * Replaces name and configuration if the instance still has the version that the caller read. Null if it has not, or is
 * gone: read again and decide anew.
 */
export async function updateInstance(
  database: D1Database,
  instanceId: string,
  expectedVersion: number,
  change: { name: string; config: JsonObject; updated_at: Timestamp },
): Promise<Instance | null> {
  const row = await database
    .prepare(
      `UPDATE instances SET name = ?, config = ?, updated_at = ?, version = version + 1
       WHERE instance_id = ? AND version = ? RETURNING ${COLUMNS}`,
    )
    .bind(
      change.name,
      JSON.stringify(change.config),
      change.updated_at,
      instanceId,
      expectedVersion,
    )
    .first<InstanceRow>();
  return row === null ? null : toInstance(row);
}

/** Deletes the instance with its projects, their keys and its access list; its usage stays. False if unknown. */
export async function deleteInstance(database: D1Database, instanceId: string): Promise<boolean> {
  const { meta } = await database
    .prepare('DELETE FROM instances WHERE instance_id = ?')
    .bind(instanceId)
    .run();
  return meta.changes > 0;
}
