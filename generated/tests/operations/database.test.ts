// The database after phase 3: the migrations in a row, the table against the entry that loggers make, and what stays of it.
import { applyD1Migrations } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { freshDatabase, SEED } from '@/tests/database/support';
import { createLogger } from '@/workers/shared/logging/logger';
import { runRetention } from '@/workers/shared/logging/retention';
import { writeLogs } from '@/workers/shared/logging/storage';
import type { IdentifiedLogEntry } from '@/workers/shared/logging/types';

const DAY_MS = 24 * 60 * 60 * 1000;
const NOW_MS = Date.parse('2026-03-01T10:00:00.000Z');

async function column(sql: string): Promise<unknown[]> {
  const { results } = await env.DB.prepare(sql).all<Record<string, unknown>>();
  return results.map((row) => Object.values(row)[0]);
}

beforeEach(async () => {
  await freshDatabase();
  await env.DB.prepare('DELETE FROM logs').run();
});

/** An entry as a logger makes it, with everything that it can have. */
async function entryAt(timestampMs: number): Promise<IdentifiedLogEntry> {
  const lines: string[] = [];
  const log = createLogger({
    component: 'image-gen-worker',
    request_id: '0b0f7a52-6a0e-4d0b-9a52-0d6f3c1f7a01',
    instance_id: 'production',
    user_id: SEED.developerId,
    env: {},
    now: () => timestampMs,
    writeLine: (line) => lines.push(line),
  });
  log.error('failed', { provider: 'ideogram' });
  await log.flush();
  return JSON.parse(lines[0] ?? '');
}

test('the second migration applies on top of the first, on a database with data', async () => {
  await env.DB.batch([
    env.DB.prepare('DROP TABLE logs'),
    env.DB.prepare("DELETE FROM d1_migrations WHERE name = '002-logs.sql'"),
  ]);
  const before = await column('SELECT instance_id FROM instances ORDER BY 1');
  expect(before).toEqual(['development', 'production']);

  await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);

  expect(await column('SELECT instance_id FROM instances ORDER BY 1')).toEqual(before);
  expect(await column('SELECT name FROM d1_migrations ORDER BY name')).toEqual(
    env.TEST_MIGRATIONS.map(({ name }) => name),
  );
  expect(await column('PRAGMA foreign_key_check')).toEqual([]);
});

test('the table has a column for each field of an entry, and each field arrives in its column', async () => {
  const entry = await entryAt(NOW_MS);
  const columns = await column("SELECT name FROM pragma_table_info('logs')");
  expect(columns.toSorted()).toEqual([...Object.keys(entry), 'created_at'].toSorted());

  await writeLogs(env.DB, [entry], NOW_MS);
  const { created_at, ...row } =
    (await env.DB.prepare('SELECT * FROM logs').first<Record<string, string>>()) ?? {};
  expect({ ...row, metadata: JSON.parse(row.metadata ?? '') }).toEqual(entry);
  expect(created_at).toBe(new Date(NOW_MS).toISOString());
});

test('entries outlive the instance and the user that they tell of', async () => {
  await writeLogs(env.DB, [await entryAt(NOW_MS)], NOW_MS);
  await env.DB.batch([
    env.DB.prepare("DELETE FROM instances WHERE instance_id = 'production'"),
    env.DB.prepare('DELETE FROM users WHERE user_id = ?').bind(SEED.developerId),
  ]);
  expect(await column('SELECT instance_id FROM logs')).toEqual(['production']);
  expect(await column('SELECT user_id FROM logs')).toEqual([SEED.developerId]);
});

test('by the schedule, what is older than thirty days goes, and what is younger stays', async () => {
  const ages = [0, 29 * DAY_MS, 30 * DAY_MS - 1, 30 * DAY_MS + 1, 31 * DAY_MS];
  await writeLogs(env.DB, await Promise.all(ages.map((age) => entryAt(NOW_MS - age))), NOW_MS);
  const lines: string[] = [];
  await runRetention({ DB: env.DB }, NOW_MS, (line) => lines.push(line));
  expect(lines).toHaveLength(1);
  expect(await column('SELECT timestamp FROM logs ORDER BY timestamp DESC')).toEqual(
    ages.slice(0, 3).map((age) => new Date(NOW_MS - age).toISOString()),
  );
});
