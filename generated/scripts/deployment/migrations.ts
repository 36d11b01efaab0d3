// Applies the migrations of the database, in wrangler's own book-keeping, so that `wrangler d1 migrations` and these scripts
// agree on what has been applied.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const TABLE = `CREATE TABLE IF NOT EXISTS d1_migrations(
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
);`;
const FILE_NAME = /^\d+[\w-]*\.sql$/;

export interface Migration {
  name: string;
  sql: string;
}

export async function readMigrations(folder: string): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => FILE_NAME.test(name)).sort();
  return await Promise.all(
    names.map(async (name) => ({ name, sql: await readFile(join(folder, name), 'utf8') })),
  );
}

/** The names of the migrations that this database has. */
export async function appliedMigrations(database: D1Database): Promise<Set<string>> {
  const table = await database
    .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'd1_migrations'")
    .first();
  if (table === null) {
    return new Set();
  }
  const { results } = await database.prepare('SELECT name FROM d1_migrations').all<{
    name: string;
  }>();
  return new Set(results.map(({ name }) => name));
}

/** The migration and the note that it was applied, to be run as one transaction. */
export function migrationScript({ name, sql }: Migration): string {
  // The name goes into SQL text; FILE_NAME admits no quote.
  return `${TABLE}\n${sql.trimEnd()}\nINSERT INTO d1_migrations (name) VALUES ('${name}');`;
}
