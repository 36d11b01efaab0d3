// Entries in D1: the migration, the indexes, writing, deleting what is old.
import { applyD1Migrations } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { type LogFilter, logStatement } from '@/infrastructure/config-service/log-queries';
import { TRAFFIC_SQL } from '@/infrastructure/config-service/metric-queries';
import { countRows, freshDatabase } from '@/tests/database/support';
import { runRetention } from '@/workers/shared/logging/retention';
import { deleteOldLogs, listLogs, writeLogs } from '@/workers/shared/logging/storage';
import { countLogs, emptyLogs, entries, entry, START_MS, storedRows } from './support';

const DAY_MS = 24 * 60 * 60 * 1000;

beforeEach(async () => {
  await emptyLogs();
});

describe('migration 002', () => {
  /** As it was before: the first migration, the seed data, and a row of usage. */
  async function goBackToFirst(): Promise<void> {
    const tables = [
      'logs',
      'usage_logs',
      'api_keys',
      'projects',
      'user_instance_access',
      'users',
      'instances',
      'organizations',
      'd1_migrations',
    ];
    await env.DB.batch(tables.map((table) => env.DB.prepare(`DROP TABLE IF EXISTS ${table}`)));
    await applyD1Migrations(env.DB, env.TEST_MIGRATIONS.slice(0, 1));
  }

  test('stands on its own behind the first', () => {
    expect(env.TEST_MIGRATIONS.map(({ name }) => name).slice(0, 2)).toEqual([
      '001-initial.sql',
      '002-logs.sql',
    ]);
  });

  test('applies on top of 001 with data in place, and leaves the data as it is', async () => {
    await goBackToFirst();
    await freshDatabase();
    const before = [await countRows('instances'), await countRows('users')];
    await expect(countRows('logs')).rejects.toThrow('no such table');

    await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);

    expect([await countRows('instances'), await countRows('users')]).toEqual(before);
    expect(await countRows('logs')).toBe(0);
    // It is noted as applied: once more changes nothing.
    await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
  });

  test('applies on an empty database', async () => {
    await goBackToFirst();
    await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
    expect(await countRows('logs')).toBe(0);
  });

  test('makes the columns of the specification', async () => {
    const { results } = await env.DB.prepare(
      `SELECT name, type, "notnull" AS required, pk FROM pragma_table_info('logs')`,
    ).all<{ name: string; type: string; required: number; pk: number }>();
    expect(results.map(({ name }) => name)).toEqual([
      'log_id',
      'timestamp',
      'level',
      'message',
      'request_id',
      'instance_id',
      'user_id',
      'component',
      'metadata',
      'created_at',
    ]);
    expect(results.every(({ type }) => type === 'TEXT')).toBe(true);
    expect(results.filter(({ required }) => required === 0).map(({ name }) => name)).toEqual([
      'instance_id',
      'user_id',
    ]);
    expect(results.filter(({ pk }) => pk === 1).map(({ name }) => name)).toEqual(['log_id']);
  });

  test.each([
    ['another level', "('x', 't', 'FATAL', 'm', 'r', 'c', '{}')"],
    ['metadata that is no JSON', "('x', 't', 'INFO', 'm', 'r', 'c', 'text')"],
    ['metadata that is no object', "('x', 't', 'INFO', 'm', 'r', 'c', '[]')"],
    ['no request', "('x', 't', 'INFO', 'm', NULL, 'c', '{}')"],
  ])('%s is refused', async (_, values) => {
    const insert = `INSERT INTO logs (log_id, timestamp, level, message, request_id, component, metadata) VALUES ${values}`;
    await expect(env.DB.prepare(insert).run()).rejects.toThrow(/constraint failed|malformed JSON/);
  });
});

describe('indexes', () => {
  async function planOf(sql: string, values: (string | number)[]): Promise<string> {
    const { results } = await env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .bind(...values)
      .all<{ detail: string }>();
    return results.map(({ detail }) => detail).join('; ');
  }

  const position = { timestamp: 't', log_id: 'l' };

  test.each<[string, LogFilter, string]>([
    ['everything', {}, 'logs_by_time'],
    ['a range of time', { from: 'a', to: 'b' }, 'logs_by_time'],
    ['an instance', { instanceId: 'production' }, 'logs_by_instance'],
    ['an instance and a range', { instanceId: 'p', from: 'a', to: 'b' }, 'logs_by_instance'],
    ['a level', { levels: ['ERROR'] }, 'logs_by_level'],
    ['a level and a range', { levels: ['ERROR'], from: 'a', to: 'b' }, 'logs_by_level'],
    ['several levels', { levels: ['ERROR', 'WARN'] }, 'logs_by_time'],
    ['a request', { requestId: 'R' }, 'logs_by_request'],
    ['a component', { component: 'c' }, 'logs_by_time'],
    ['a user', { userId: 'u' }, 'logs_by_time'],
    ['a text', { search: 's' }, 'logs_by_time'],
  ])('%s is read from its index, in order, also from the middle', async (_, filter, index) => {
    for (const after of [null, position]) {
      const { sql, values } = logStatement(filter, { limit: 50, after });
      const plan = await planOf(sql, values);
      expect(plan).toContain(`USING INDEX ${index}`);
      expect(plan).not.toContain('TEMP B-TREE');
    }
  });

  test('the newest of an organisation are those of its instances, each from its index', async () => {
    for (const after of [null, position]) {
      const { sql, values } = logStatement(
        { orgId: 'o', levels: ['WARN', 'ERROR'] },
        { limit: 50, after },
      );
      const plan = await planOf(sql, values);
      expect(plan).toContain('SEARCH instances USING COVERING INDEX instances_by_organization');
      expect(plan).toContain('SEARCH entries USING INDEX logs_by_instance');
      expect(plan).toContain('SEARCH logs USING INTEGER PRIMARY KEY');
      expect(plan).not.toContain('SCAN');
    }
  });

  test('metrics read the entries of requests alone', async () => {
    const plan = await planOf(TRAFFIC_SQL, ['["production"]', 'a', 'b', 60]);
    expect(plan).toContain(
      'SEARCH logs USING INDEX logs_of_requests (instance_id=? AND timestamp>?',
    );
  });

  test('deleting what is old finds it by the time', async () => {
    const plan = await planOf(
      'DELETE FROM logs WHERE rowid IN (SELECT rowid FROM logs WHERE timestamp < ? ORDER BY timestamp LIMIT ?)',
      ['t', 10],
    );
    expect(plan).toContain('USING COVERING INDEX logs_by_time (timestamp<?)');
    expect(plan).not.toContain('TEMP B-TREE');
  });
});

describe('writing', () => {
  test('all columns, with null and an empty object for what is not there', async () => {
    const full = entry(1, { instance_id: 'production', user_id: 'u-1', metadata: { n: [1, 'ä'] } });
    await writeLogs(env.DB, [full, entry(2)], START_MS);
    const created_at = new Date(START_MS).toISOString();
    expect(await storedRows()).toEqual([
      { ...full, metadata: '{"n":[1,"ä"]}', created_at },
      { ...entry(2), instance_id: null, user_id: null, metadata: '{}', created_at },
    ]);
  });

  test('none is written if one is refused', async () => {
    const wrong = entry(2, { level: 'FATAL' as 'ERROR' });
    await expect(writeLogs(env.DB, [entry(1), wrong], START_MS)).rejects.toThrow('CHECK');
    expect(await countLogs()).toBe(0);
  });

  test('nothing is nothing', async () => {
    await writeLogs(env.DB, [], START_MS);
    expect(await countLogs()).toBe(0);
  });

  test('what was written is read through the one way of reading', async () => {
    await writeLogs(
      env.DB,
      [entry(1, { instance_id: 'production', metadata: { n: 1 } })],
      START_MS,
    );
    const page = await listLogs(env.DB, { instanceId: 'production' }, { limit: 10, after: null });
    expect(page).toMatchObject({ items: [{ log_id: 'entry-1', metadata: { n: 1 } }], next: null });
  });
});

describe('thirty days', () => {
  const at = (number: number, ageMs: number) =>
    entry(number, { timestamp: new Date(START_MS - ageMs).toISOString() });

  test('what is older goes, what is exactly as old or younger stays', async () => {
    await writeLogs(
      env.DB,
      [
        at(1, 30 * DAY_MS + 1),
        at(2, 30 * DAY_MS),
        at(3, 30 * DAY_MS - 1),
        at(4, 0),
        at(5, 90 * DAY_MS),
      ],
      START_MS,
    );
    expect(await deleteOldLogs(env.DB, { now: START_MS })).toEqual({
      deleted: 2,
      isComplete: true,
    });
    expect((await storedRows()).map(({ log_id }) => log_id)).toEqual([
      'entry-2',
      'entry-3',
      'entry-4',
    ]);
    expect(await deleteOldLogs(env.DB, { now: START_MS })).toEqual({
      deleted: 0,
      isComplete: true,
    });
  });

  test('it goes in slices, and what is too much waits for the next run', async () => {
    await writeLogs(env.DB, entries(0, 25), START_MS);
    const runs: number[] = [];
    const database = {
      prepare: (sql: string) => ({
        bind: (...values: unknown[]) => ({
          run: async () => {
            const result = await env.DB.prepare(sql)
              .bind(...values)
              .run();
            runs.push(result.meta.changes);
            return result;
          },
        }),
      }),
    } as unknown as D1Database;
    const options = { now: START_MS + 40 * DAY_MS, sliceRows: 10, slicesMax: 2 };
    expect(await deleteOldLogs(database, options)).toEqual({ deleted: 20, isComplete: false });
    expect(await deleteOldLogs(database, options)).toEqual({ deleted: 5, isComplete: true });
    expect(runs).toEqual([10, 10, 5]);
  });

  test('a scheduled run does it, and says what it has done', async () => {
    await writeLogs(env.DB, [at(1, 31 * DAY_MS), at(2, 0)], START_MS);
    const lines: string[] = [];
    await runRetention({ DB: env.DB }, START_MS, (line) => lines.push(line));
    expect(await countLogs()).toBe(1);
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { message: 'old log entries deleted', metadata: { deleted: 1, is_complete: true } },
    ]);
  });

  test('the line goes to the console if nobody says otherwise', async () => {
    const printed = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    await runRetention({ DB: env.DB }, START_MS);
    expect(printed).toHaveBeenCalledOnce();
    printed.mockRestore();
  });

  test('a database that fails makes the run fail', async () => {
    const broken = {
      prepare: () => {
        throw new Error('D1 is away');
      },
    } as unknown as D1Database;
    await expect(runRetention({ DB: broken }, START_MS)).rejects.toThrow('D1 is away');
  });
});
