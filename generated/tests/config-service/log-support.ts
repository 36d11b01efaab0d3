// The table of log entries, and entries in it.
import { env } from 'cloudflare:workers';

/** As the specification describes it: the migration that makes it comes with a later component. */
const TABLE = `CREATE TABLE IF NOT EXISTS logs (
  log_id TEXT PRIMARY KEY NOT NULL,
  timestamp TEXT NOT NULL,
  level TEXT NOT NULL CHECK (level IN ('DEBUG', 'INFO', 'WARN', 'ERROR')),
  message TEXT NOT NULL,
  request_id TEXT NOT NULL,
  instance_id TEXT,
  user_id TEXT,
  component TEXT NOT NULL,
  metadata TEXT NOT NULL DEFAULT '{}',
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT`;

export interface LogFixture {
  log_id: string;
  timestamp: string;
  level?: string;
  message?: string;
  request_id?: string;
  instance_id?: string | null;
  user_id?: string | null;
  component?: string;
  metadata?: object;
}

/** Makes the table if it is not there, and fills it with these entries alone. */
export async function fillLogs(logs: readonly LogFixture[]): Promise<void> {
  const insert = `INSERT INTO logs
    (log_id, timestamp, level, message, request_id, instance_id, user_id, component, metadata)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`;
  await env.DB.batch([
    env.DB.prepare(TABLE),
    env.DB.prepare('DELETE FROM logs'),
    ...logs.map((log) =>
      env.DB.prepare(insert).bind(
        log.log_id,
        log.timestamp,
        log.level ?? 'INFO',
        log.message ?? 'm',
        log.request_id ?? 'r',
        log.instance_id === undefined ? 'production' : log.instance_id,
        log.user_id ?? null,
        log.component ?? 'image-gen-worker',
        JSON.stringify(log.metadata ?? {}),
      ),
    ),
  ]);
}

/** While it runs, the database is that of before the migration. */
export async function withoutLogs(work: () => Promise<void>): Promise<void> {
  await env.DB.prepare('ALTER TABLE logs RENAME TO logs_away').run();
  try {
    await work();
  } finally {
    await env.DB.prepare('ALTER TABLE logs_away RENAME TO logs').run();
  }
}
