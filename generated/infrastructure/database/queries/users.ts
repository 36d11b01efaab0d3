// Users.
import { parseTextArray } from '../json';
import { listPage, type Page, type PageRequest } from '../pagination';
import type { Role, Timestamp, User } from '../types';

type UserRow = Omit<User, 'instances'> & { instances: string };

const COLUMNS = `users.user_id, users.email, users.role, users.org_id, users.created_at, users.updated_at,
  (SELECT json_group_array(instance_id) FROM
    (SELECT instance_id FROM user_instance_access AS access
     WHERE access.user_id = users.user_id ORDER BY instance_id)) AS instances`;

function toUser(row: UserRow): User {
  return { ...row, instances: parseTextArray(row.instances) };
}

export async function getUserById(database: D1Database, userId: string): Promise<User | null> {
  const row = await database
    .prepare(`SELECT ${COLUMNS} FROM users WHERE user_id = ?`)
    .bind(userId)
    .first<UserRow>();
  return row === null ? null : toUser(row);
}

/** Emails are compared without regard to case. */
export async function getUserByEmail(database: D1Database, email: string): Promise<User | null> {
  const row = await database
    .prepare(`SELECT ${COLUMNS} FROM users WHERE email = ?`)
    .bind(email)
    .first<UserRow>();
  return row === null ? null : toUser(row);
}

export async function listUsers(
  database: D1Database,
  page: PageRequest,
  filter: { orgId?: string | undefined } = {},
): Promise<Page<User>> {
  return await listPage<UserRow, User>(database, {
    select: `SELECT ${COLUMNS} FROM users`,
    createdAtColumn: 'users.created_at',
    idColumn: 'users.user_id',
    conditions:
      filter.orgId === undefined ? [] : [{ sql: 'users.org_id = ?', values: [filter.orgId] }],
    page,
    toItem: toUser,
    positionOf: (item) => ({ created_at: item.created_at, id: item.user_id }),
  });
}

export interface NewUser {
  user_id: string;
  email: string;
  role: Role;
  org_id: string;
  created_at: Timestamp;
}

/** Fails with a unique violation if the email is taken, with a foreign key violation if the organisation is unknown. */
export async function insertUser(database: D1Database, user: NewUser): Promise<User> {
  await database
    .prepare(
      'INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)',
    )
    .bind(user.user_id, user.email, user.role, user.org_id, user.created_at, user.created_at)
    .run();
  return { ...user, instances: [], updated_at: user.created_at };
}

/** Writes what is given and keeps the rest; null if there is no such user. */
export async function updateUser(
  database: D1Database,
  userId: string,
  change: { email?: string | undefined; role?: Role | undefined; updated_at: Timestamp },
): Promise<User | null> {
  const row = await database
    .prepare(
      `UPDATE users SET email = coalesce(?, email), role = coalesce(?, role), updated_at = ?
       WHERE user_id = ? RETURNING ${COLUMNS}`,
    )
    .bind(change.email ?? null, change.role ?? null, change.updated_at, userId)
    .first<UserRow>();
  return row === null ? null : toUser(row);
}

/** Deletes the user with its keys and access; its usage stays. False if unknown. */
export async function deleteUser(database: D1Database, userId: string): Promise<boolean> {
  const { meta } = await database.prepare('DELETE FROM users WHERE user_id = ?').bind(userId).run();
  return meta.changes > 0;
}
