// The schema itself: what it creates, what it refuses, what deleting takes along, and the seed data.
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import schemaSql from '@/infrastructure/database/schema.sql?raw';
import seedSql from '@/infrastructure/database/seed.sql?raw';
import { countRows, freshDatabase, runScript, SEED } from './support';

const HASH = 'a'.repeat(64);

async function execute(sql: string, ...values: (string | number | null)[]): Promise<void> {
  await env.DB.prepare(sql)
    .bind(...values)
    .run();
}

async function column(sql: string): Promise<unknown[]> {
  const { results } = await env.DB.prepare(sql).all<Record<string, unknown>>();
  return results.map((row) => Object.values(row)[0]);
}

/** The tables of the first migration. Later ones come with the components that need them, and with tests of their own. */
const TABLES = [
  'api_keys',
  'instances',
  'organizations',
  'projects',
  'usage_logs',
  'user_instance_access',
  'users',
];

/** Our own tables, without those of SQLite, D1 and wrangler. */
async function tableNames(): Promise<string[]> {
  const names = await column(
    `SELECT name FROM sqlite_master WHERE type = 'table'
     AND name NOT LIKE 'sqlite%' AND name NOT LIKE '_cf%' AND name <> 'd1_migrations' ORDER BY name`,
  );
  return names.map(String);
}

beforeEach(async () => {
  await freshDatabase();
});

describe('schema', () => {
  test('the first migration creates exactly the tables of the specification', async () => {
    const created = [
      ...(env.TEST_MIGRATIONS[0]?.queries.join(';') ?? '').matchAll(/CREATE TABLE (\w+)/g),
    ];
    expect(created.map(([, name]) => name).toSorted()).toEqual(TABLES);
    expect(await tableNames()).toEqual(expect.arrayContaining(TABLES));
  });

  test('schema.sql describes the same database as the migrations', async () => {
    const describeSchema = async () => {
      const { results } = await env.DB.prepare(
        `SELECT type, name, tbl_name, sql FROM sqlite_master
         WHERE tbl_name IN (SELECT value FROM json_each(?)) ORDER BY type, name`,
      )
        .bind(JSON.stringify(TABLES))
        .all<{ type: string; name: string; sql: string | null }>();
      return results.map((row) => ({ ...row, sql: row.sql?.replaceAll(/\s+/g, ' ') ?? null }));
    };
    const migrated = await describeSchema();
    const order = [...schemaSql.matchAll(/CREATE TABLE (\w+)/g)].map(([, name]) => name ?? '');
    expect(order.toSorted()).toEqual(TABLES);
    await env.DB.batch(order.toReversed().map((name) => env.DB.prepare(`DROP TABLE ${name}`)));

    await runScript(schemaSql);

    expect(await describeSchema()).toEqual(migrated);
  });

  test('every table has created_at, filled in by the database if nobody gives it', async () => {
    for (const table of await tableNames()) {
      expect(await column(`SELECT name FROM pragma_table_info('${table}')`)).toContain(
        'created_at',
      );
    }
    await execute(
      "INSERT INTO organizations (org_id, name, billing_email) VALUES ('new', 'New', 'a@b.c')",
    );
    expect(await column("SELECT created_at FROM organizations WHERE org_id = 'new'")).toEqual([
      expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    ]);
  });

  test('every foreign key is the leading part of an index', async () => {
    let count = 0;
    for (const table of await tableNames()) {
      const referring = await column(`SELECT "from" FROM pragma_foreign_key_list('${table}')`);
      const leading = await column(
        `SELECT i.name FROM pragma_index_list('${table}') AS l, pragma_index_info(l.name) AS i WHERE i.seqno = 0`,
      );
      expect(leading, table).toEqual(expect.arrayContaining(referring));
      count += referring.length;
    }
    expect(count).toBe(13);
  });

  test('listing the instances of an organisation and finding a key use an index', async () => {
    const plans = [
      "SELECT * FROM instances WHERE org_id = 'x' AND (created_at, instance_id) > ('a', 'b') ORDER BY created_at, instance_id",
      "SELECT * FROM api_keys WHERE key_hash = 'x'",
      "SELECT * FROM usage_logs WHERE instance_id = 'x' AND timestamp >= 'a'",
    ];
    for (const sql of plans) {
      const { results } = await env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`).all<{
        detail: string;
      }>();
      expect(results.map(({ detail }) => detail).join()).toMatch(
        /^SEARCH \w+ USING INDEX (?!.*TEMP B-TREE)/,
      );
    }
  });
});

describe('constraints', () => {
  test.each([
    ['an instance', "INSERT INTO instances (instance_id, org_id, name) VALUES ('i', 'none', 'I')"],
    ['a user', "INSERT INTO users (user_id, email, org_id) VALUES ('u', 'u@example.com', 'none')"],
    ['a project', "INSERT INTO projects (project_id, instance_id, name) VALUES ('p', 'none', 'P')"],
    [
      'access to an instance',
      `INSERT INTO user_instance_access (user_id, instance_id) VALUES ('${SEED.developerId}', 'none')`,
    ],
    [
      'a key',
      `INSERT INTO api_keys (key_id, user_id, key_hash, key_prefix) VALUES ('k', 'none', '${HASH}', 'mas_')`,
    ],
    [
      'usage',
      "INSERT INTO usage_logs (log_id, org_id, request_id, timestamp, provider) VALUES ('l', 'none', 'r', 't', 'p')",
    ],
  ])('%s needs what it refers to', async (_, sql) => {
    await expect(execute(sql)).rejects.toThrow('FOREIGN KEY constraint failed');
  });

  test('an email is unique regardless of case', async () => {
    await expect(
      execute(
        "INSERT INTO users (user_id, email, org_id) VALUES ('u', 'ADMIN@example.com', 'example-org')",
      ),
    ).rejects.toThrow('UNIQUE constraint failed: users.email');
  });

  test('a project name is unique within its instance only', async () => {
    const sql = 'INSERT INTO projects (project_id, instance_id, name) VALUES (?, ?, ?)';
    await expect(execute(sql, 'p1', 'production', 'Content Forge')).rejects.toThrow('UNIQUE');
    await execute(sql, 'p2', 'development', 'Content Forge');
  });

  test('access is given once for each user and instance', async () => {
    await expect(
      execute(
        'INSERT INTO user_instance_access (user_id, instance_id) VALUES (?, ?)',
        SEED.developerId,
        'development',
      ),
    ).rejects.toThrow('UNIQUE constraint failed');
  });

  test.each(['owner', 'Admin', ''])('the role %j is refused', async (role) => {
    await expect(
      execute(
        "INSERT INTO users (user_id, email, role, org_id) VALUES ('u', 'u@example.com', ?, 'example-org')",
        role,
      ),
    ).rejects.toThrow('CHECK constraint failed');
  });

  test.each(['not json', '[]', '"text"'])(
    'the configuration %j is refused: it must be a JSON object',
    async (config) => {
      await expect(
        execute(
          "INSERT INTO instances (instance_id, org_id, name, config) VALUES ('i', 'example-org', 'I', ?)",
          config,
        ),
      ).rejects.toThrow(/CHECK constraint failed|malformed JSON/);
    },
  );

  test.each([
    ['neither', null, null],
    ['both', SEED.developerId, 'playground'],
  ])('a key of %s user and project is refused', async (_, userId, projectId) => {
    await expect(
      execute(
        'INSERT INTO api_keys (key_id, user_id, project_id, key_hash, key_prefix) VALUES (?, ?, ?, ?, ?)',
        'k',
        userId,
        projectId,
        HASH,
        'mas_',
      ),
    ).rejects.toThrow('CHECK constraint failed');
  });

  test('a key hash is 64 hexadecimal digits, and unique', async () => {
    const sql =
      'INSERT INTO api_keys (key_id, project_id, key_hash, key_prefix) VALUES (?, ?, ?, ?)';
    await expect(execute(sql, 'k', 'playground', 'mas_plain', 'mas_')).rejects.toThrow('CHECK');
    await expect(execute(sql, 'k', 'playground', 'g'.repeat(64), 'mas_')).rejects.toThrow('CHECK');
    await execute(sql, 'k', 'playground', HASH, 'mas_');
    await expect(execute(sql, 'l', 'playground', HASH, 'mas_')).rejects.toThrow('UNIQUE');
  });

  test('usage is never negative, and its cost is a whole number', async () => {
    const sql =
      "INSERT INTO usage_logs (log_id, org_id, request_id, timestamp, provider, tokens_used, cost) VALUES ('l', 'example-org', 'r', 't', 'p', ?, ?)";
    await expect(execute(sql, -1, 0)).rejects.toThrow('CHECK constraint failed');
    await expect(execute(sql, 0, -1)).rejects.toThrow('CHECK constraint failed');
    await expect(execute(sql, 0, 0.5)).rejects.toThrow('REAL value in INTEGER column');
  });
});

describe('deleting', () => {
  beforeEach(async () => {
    await runScript(`
      INSERT INTO api_keys (key_id, project_id, key_hash, key_prefix, created_by)
        VALUES ('of-project', 'playground', '${'1'.repeat(64)}', 'mas_', '${SEED.adminId}');
      INSERT INTO api_keys (key_id, user_id, key_hash, key_prefix)
        VALUES ('of-user', '${SEED.developerId}', '${'2'.repeat(64)}', 'mas_');
      INSERT INTO usage_logs (log_id, org_id, instance_id, project_id, user_id, request_id, timestamp, provider, cost)
        VALUES ('usage', 'example-org', 'development', 'playground', '${SEED.developerId}', 'r', 't', 'p', 80000);
    `);
  });

  test('an instance takes projects, their keys and access along, and leaves its usage', async () => {
    await execute("DELETE FROM instances WHERE instance_id = 'development'");
    expect(await column('SELECT project_id FROM projects')).toEqual(['content-forge']);
    expect(await column('SELECT key_id FROM api_keys')).toEqual(['of-user']);
    expect(await countRows('user_instance_access')).toBe(0);
    expect(
      await env.DB.prepare('SELECT org_id, instance_id, project_id, cost FROM usage_logs').first(),
    ).toEqual({ org_id: 'example-org', instance_id: null, project_id: null, cost: 80000 });
  });

  test('a user takes keys and access along, and leaves what was made in its name', async () => {
    await execute('DELETE FROM users WHERE user_id = ?', SEED.developerId);
    expect(await column('SELECT key_id FROM api_keys')).toEqual(['of-project']);
    expect(await countRows('user_instance_access')).toBe(0);
    expect(await column('SELECT user_id FROM usage_logs')).toEqual([null]);

    await execute('DELETE FROM users WHERE user_id = ?', SEED.adminId);
    expect(await column('SELECT created_by FROM api_keys')).toEqual([null]);
  });

  test('an organisation that still has something is not deleted', async () => {
    await expect(execute("DELETE FROM organizations WHERE org_id = 'example-org'")).rejects.toThrow(
      'FOREIGN KEY constraint failed',
    );
    await runScript('DELETE FROM instances; DELETE FROM users');
    await expect(execute("DELETE FROM organizations WHERE org_id = 'example-org'")).rejects.toThrow(
      'FOREIGN KEY constraint failed',
    );
    await runScript(
      "DELETE FROM usage_logs; DELETE FROM organizations WHERE org_id = 'example-org'",
    );
    expect(await countRows('organizations')).toBe(0);
  });
});

describe('seed data', () => {
  test('it is one organisation, two instances, two users and two projects, without any key', async () => {
    expect(await column('SELECT org_id FROM organizations')).toEqual(['example-org']);
    expect(await column('SELECT instance_id FROM instances ORDER BY 1')).toEqual([
      'development',
      'production',
    ]);
    expect(await column('SELECT role FROM users ORDER BY 1')).toEqual(['superadmin', 'user']);
    expect(await column('SELECT project_id FROM projects ORDER BY 1')).toEqual([
      'content-forge',
      'playground',
    ]);
    expect(await column("SELECT json_extract(config, '$.api_keys') FROM instances")).toEqual([
      '{}',
      '{}',
    ]);
    expect(await countRows('api_keys')).toBe(0);
  });

  test('seeding again changes nothing', async () => {
    await execute("UPDATE instances SET name = 'Renamed' WHERE instance_id = 'production'");
    await runScript(seedSql);
    expect(await countRows('instances')).toBe(2);
    expect(await countRows('user_instance_access')).toBe(1);
    expect(await column("SELECT name FROM instances WHERE instance_id = 'production'")).toEqual([
      'Renamed',
    ]);
  });
});
