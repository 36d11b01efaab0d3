// The test database: the real migrations on the real D1, emptied and seeded again before each test that asks for it.
import { applyD1Migrations } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import seedSql from '@/infrastructure/database/seed.sql?raw';

export const SEED = {
  orgId: 'example-org',
  adminId: '3f0c8a52-6a0e-4d0b-9a52-0d6f3c1f7a01',
  developerId: '8b1d5e94-27c3-4f6e-b1a7-5c9e2d4f8b02',
} as const;

const TABLES = [
  'usage_logs',
  'api_keys',
  'projects',
  'user_instance_access',
  'users',
  'instances',
  'organizations',
];

/** The statements of a script, without comments. Enough for our own scripts: no `;` or `--` within text. */
export function statementsOf(script: string): string[] {
  return script
    .replaceAll(/--.*$/gm, '')
    .split(';')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}

export async function runScript(script: string): Promise<void> {
  await env.DB.batch(statementsOf(script).map((statement) => env.DB.prepare(statement)));
}

let migrated: Promise<void> | null = null;

/** Storage lives as long as this module does, so that the first test migrates for all. */
async function migrateOnce(): Promise<void> {
  migrated ??= applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
  await migrated;
}

/** An up-to-date database that holds the seed data, what `fixtures` add to it, and nothing else. */
export async function freshDatabase(
  fixtures: readonly D1PreparedStatement[] = [],
): Promise<D1Database> {
  await migrateOnce();
  await env.DB.batch([
    ...TABLES.map((table) => env.DB.prepare(`DELETE FROM ${table}`)),
    ...statementsOf(seedSql).map((statement) => env.DB.prepare(statement)),
    ...fixtures,
  ]);
  return env.DB;
}

export async function countRows(table: string): Promise<number> {
  const row = await env.DB.prepare(`SELECT count(*) AS count FROM ${table}`).first<{
    count: number;
  }>();
  return row?.count ?? 0;
}
