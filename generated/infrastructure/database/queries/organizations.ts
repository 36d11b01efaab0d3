// Organisations.
import { listPage, type Page, type PageRequest } from '../pagination';
import type { Organization, Timestamp } from '../types';

const COLUMNS = 'org_id, name, billing_email, created_at, updated_at';

export async function getOrganizationById(
  database: D1Database,
  orgId: string,
): Promise<Organization | null> {
  return await database
    .prepare(`SELECT ${COLUMNS} FROM organizations WHERE org_id = ?`)
    .bind(orgId)
    .first<Organization>();
}

export async function listOrganizations(
  database: D1Database,
  page: PageRequest,
  filter: { orgId?: string | undefined } = {},
): Promise<Page<Organization>> {
  return await listPage<Organization, Organization>(database, {
    select: `SELECT ${COLUMNS} FROM organizations`,
    createdAtColumn: 'created_at',
    idColumn: 'org_id',
    conditions: filter.orgId === undefined ? [] : [{ sql: 'org_id = ?', values: [filter.orgId] }],
    page,
    toItem: (row) => row,
    positionOf: (item) => ({ created_at: item.created_at, id: item.org_id }),
  });
}

/** Fails with a unique violation if the id is taken. */
export async function insertOrganization(
  database: D1Database,
  organization: Organization,
): Promise<void> {
  await database
    .prepare(
      'INSERT INTO organizations (org_id, name, billing_email, created_at, updated_at) VALUES (?, ?, ?, ?, ?)',
    )
    .bind(
      organization.org_id,
      organization.name,
      organization.billing_email,
      organization.created_at,
      organization.updated_at,
    )
    .run();
}

/** Writes what is given and keeps the rest; null if there is no such organisation. */
export async function updateOrganization(
  database: D1Database,
  orgId: string,
  change: {
    name?: string | undefined;
    billing_email?: string | undefined;
    updated_at: Timestamp;
  },
): Promise<Organization | null> {
  return await database
    .prepare(
      `UPDATE organizations
       SET name = coalesce(?, name), billing_email = coalesce(?, billing_email), updated_at = ?
       WHERE org_id = ? RETURNING ${COLUMNS}`,
    )
    .bind(change.name ?? null, change.billing_email ?? null, change.updated_at, orgId)
    .first<Organization>();
}

/** False if there is no such organisation; a foreign key violation if something still belongs to it. */
export async function deleteOrganization(database: D1Database, orgId: string): Promise<boolean> {
  const { meta } = await database
    .prepare('DELETE FROM organizations WHERE org_id = ?')
    .bind(orgId)
    .run();
  return meta.changes > 0;
}
