// Log entries in D1: writing a batch, deleting what is old, and reading (which is the Config Service's way of reading).
import type { IdentifiedLogEntry } from './types';

export {
  type LogFilter,
  type LogPage,
  type LogPosition,
  listLogs,
  type StoredLogEntry,
} from '@/infrastructure/config-service/log-queries';

/** So many entries are written together. */
export const BATCH_ENTRIES = 100;
/** ... and no entry waits for longer than this. */
export const BATCH_AGE_MS = 10_000;

export const RETENTION_DAYS = 30;
const DAY_MS = 24 * 60 * 60 * 1000;

/** Writes entries in one D1 batch: all of them or none. One that is there already stays as it is. */
export async function writeLogs(
  database: D1Database,
  entries: readonly IdentifiedLogEntry[],
  now: number,
): Promise<void> {
  if (entries.length === 0) {
    return;
  }
  const insert = database.prepare(
    `INSERT INTO logs (log_id, timestamp, level, message, request_id, instance_id, user_id, component, metadata, created_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (log_id) DO NOTHING`,
  );
  const createdAt = new Date(now).toISOString();
  await database.batch(
    entries.map((entry) =>
      insert.bind(
        entry.log_id,
        entry.timestamp,
        entry.level,
        entry.message,
        entry.request_id,
        entry.instance_id ?? null,
        entry.user_id ?? null,
        entry.component,
        JSON.stringify(entry.metadata ?? {}),
        createdAt,
      ),
    ),
  );
}

export interface DeletionOptions {
  now: number;
  retentionDays?: number;
  /** Rows deleted by one statement: between two of them others get their turn. */
  sliceRows?: number;
  /** What is left after so many slices waits for the next run. */
  slicesMax?: number;
}

export interface DeletionResult {
  deleted: number;
  /** False if there is more to delete. */
  isComplete: boolean;
}

/** Deletes the entries that are older than 30 days. */
export async function deleteOldLogs(
  database: D1Database,
  { now, retentionDays = RETENTION_DAYS, sliceRows = 1000, slicesMax = 100 }: DeletionOptions,
): Promise<DeletionResult> {
  const oldest = new Date(now - retentionDays * DAY_MS).toISOString();
  const deleteSlice = database
    .prepare(
      `DELETE FROM logs WHERE rowid IN
         (SELECT rowid FROM logs WHERE timestamp < ? ORDER BY timestamp LIMIT ?)`,
    )
    .bind(oldest, sliceRows);
  let deleted = 0;
  for (let slice = 0; slice < slicesMax; slice += 1) {
    const { meta } = await deleteSlice.run();
    deleted += meta.changes;
    if (meta.changes < sliceRows) {
      return { deleted, isComplete: true };
    }
  }
  return { deleted, isComplete: false };
}
