// Loggers on the real buffer and the real database, with a clock that tests move, and the rows that come out.
import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { freshDatabase } from '@/tests/database/support';
import type { LogBuffer } from '@/workers/shared/logging/log-buffer';
import type { IdentifiedLogEntry } from '@/workers/shared/logging/types';

/** Alarms ring by the real clock, whatever the tests' clock says: at this time none does unless a test rings it. */
export const START_MS = Date.parse('2099-03-01T10:00:00.000Z');
export const REQUEST_ID = '0b0f7a52-6a0e-4d0b-9a52-0d6f3c1f7a01';

// Sound because vitest.config.ts binds this class.
export const buffers = env.LOG_BUFFER as DurableObjectNamespace<LogBuffer>;

export interface LogRow {
  log_id: string;
  timestamp: string;
  level: string;
  message: string;
  request_id: string;
  instance_id: string | null;
  user_id: string | null;
  component: string;
  metadata: string;
  created_at: string;
}

export async function emptyLogs(): Promise<void> {
  await freshDatabase([env.DB.prepare('DELETE FROM logs')]);
}

export async function storedRows(): Promise<LogRow[]> {
  const { results } = await env.DB.prepare(
    'SELECT * FROM logs ORDER BY timestamp, log_id',
  ).all<LogRow>();
  return results;
}

export async function countLogs(): Promise<number> {
  return (await storedRows()).length;
}

let count = 0;

/** A name that no buffer has had yet. */
export function newInstanceId(): string {
  count += 1;
  return `instance-${count}`;
}

export function entry(
  number: number,
  fields: Partial<IdentifiedLogEntry> = {},
): IdentifiedLogEntry {
  return {
    log_id: `entry-${number}`,
    timestamp: new Date(START_MS + number).toISOString(),
    level: 'INFO',
    message: `message ${number}`,
    request_id: REQUEST_ID,
    component: 'test',
    ...fields,
  };
}

export function entries(from: number, to: number): IdentifiedLogEntry[] {
  return Array.from({ length: to - from }, (_, index) => entry(from + index));
}

/** Inside the object, which does one thing at a time: whatever it had begun is over before this is. */
export async function alarmOf(stub: DurableObjectStub<LogBuffer>): Promise<number | null> {
  return await runInDurableObject(stub, (_, state) => state.storage.getAlarm());
}

export async function waitingIn(stub: DurableObjectStub<LogBuffer>): Promise<number> {
  return await runInDurableObject(
    stub,
    (_, state) =>
      state.storage.sql.exec<{ n: number }>('SELECT count(*) AS n FROM entries').one().n,
  );
}

export async function runAlarm(stub: DurableObjectStub<LogBuffer>): Promise<void> {
  await runDurableObjectAlarm(stub);
}

/** While it runs, D1 has no table for logs: every write fails. */
export async function withoutTable(work: () => Promise<void>): Promise<void> {
  await env.DB.prepare('ALTER TABLE logs RENAME TO logs_away').run();
  try {
    await work();
  } finally {
    await env.DB.prepare('ALTER TABLE logs_away RENAME TO logs').run();
  }
}
