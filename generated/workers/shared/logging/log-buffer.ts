// The Durable Object that holds entries until D1 has them. What `append` has accepted is in the object's own storage, so
// that no end of an isolate loses it; it is deleted there only after D1 has confirmed it; and since D1 passes over an id
// that it has already, whatever happens in between stores it once.
//
// A Worker that logs exports this class, binds it as LOG_BUFFER with `new_sqlite_classes = ["LogBuffer"]` in a migration, and
// has the binding DB.
import { DurableObject } from 'cloudflare:workers';
import { redactText } from '@/infrastructure/config-service/security/redaction';
import { violatedConstraint } from '@/infrastructure/database/errors';
import { newLogId } from './log-id';
import { BATCH_AGE_MS, BATCH_ENTRIES, writeLogs } from './storage';
import { type IdentifiedLogEntry, NO_REQUEST_ID } from './types';

export interface LogBufferEnv {
  DB: D1Database;
}

/** Beyond this many, while D1 fails, new entries are refused and counted. */
const KEPT_ENTRIES_MAX = 10_000;
/** A logger's entries are far smaller; a larger one does not come from it. */
const ENTRY_CHARACTERS_MAX = 64 * 1024;

const RETRY_FIRST_MS = 10_000;
const RETRY_MAX_MS = 5 * 60_000;

export interface AppendResult {
  accepted: number;
  /** Refused, because too much is waiting already. */
  lost: number;
}

type EntryRow = { sequence: number; received_at: number; entry: string };
type StateRow = { failures: number; retry_at: number; lost: number; lost_since: number };

export class LogBuffer extends DurableObject<LogBufferEnv> {
  private readonly sql: SqlStorage;
  private count = 0;
  private flushing: Promise<void> | null = null;

  constructor(
    ctx: DurableObjectState,
    env: LogBufferEnv,
    private readonly keptEntriesMax = KEPT_ENTRIES_MAX,
  ) {
    super(ctx, env);
    this.sql = ctx.storage.sql;
    this.sql.exec(`
      CREATE TABLE IF NOT EXISTS entries (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        log_id TEXT NOT NULL UNIQUE,
        received_at INTEGER NOT NULL,
        entry TEXT NOT NULL
      );
      CREATE TABLE IF NOT EXISTS state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        failures INTEGER NOT NULL DEFAULT 0,
        retry_at INTEGER NOT NULL DEFAULT 0,
        lost INTEGER NOT NULL DEFAULT 0,
        lost_since INTEGER NOT NULL DEFAULT 0
      );
      INSERT INTO state (id) VALUES (1) ON CONFLICT (id) DO NOTHING;
    `);
    this.count = this.sql.exec<{ n: number }>('SELECT count(*) AS n FROM entries').one().n;
  }

  /** Accepts entries. The answer leaves when they are stored durably: the runtime holds it back until then. */
  async append(entries: readonly IdentifiedLogEntry[]): Promise<AppendResult> {
    const now = Date.now();
    let lost = 0;
    for (const entry of entries) {
      const text = JSON.stringify(entry);
      if (this.count >= this.keptEntriesMax || text.length > ENTRY_CHARACTERS_MAX) {
        lost += 1;
      } else {
        this.keep(entry.log_id, text, now);
      }
    }
    if (lost > 0) {
      this.countLoss(lost, now);
    }
    if (this.isDue()) {
      this.ctx.waitUntil(this.flush());
    }
    await this.scheduleNext();
    return { accepted: entries.length - lost, lost };
  }

  /** Ten seconds after the oldest entry came, or when D1 is to be tried again. */
  override async alarm(): Promise<void> {
    await this.flush();
    await this.scheduleNext();
  }

  private keep(logId: string, text: string, now: number): void {
    const inserted = this.sql.exec(
      `INSERT INTO entries (log_id, received_at, entry) VALUES (?, ?, ?)
       ON CONFLICT (log_id) DO NOTHING RETURNING sequence`,
      logId,
      now,
      text,
    );
    this.count += inserted.toArray().length;
  }

  private state(): StateRow {
    return this.sql.exec<StateRow>('SELECT failures, retry_at, lost, lost_since FROM state').one();
  }

  private countLoss(lost: number, now: number): void {
    if (this.state().lost === 0) {
      // One line when it begins; the number stands in the entry that is written when D1 is back.
      this.complain('log entries are being lost', { kept: this.count });
      this.sql.exec('UPDATE state SET lost_since = ?', now);
    }
    this.sql.exec('UPDATE state SET lost = lost + ?', lost);
  }

  /** What was lost becomes an entry itself, in the same step in which the count goes back to nothing. */
  private recordLoss(now: number): void {
    const { lost, lost_since } = this.state();
    if (lost === 0) {
      return;
    }
    const entry: IdentifiedLogEntry = {
      log_id: newLogId(now),
      timestamp: new Date(now).toISOString(),
      level: 'ERROR',
      message: 'log entries were lost',
      request_id: NO_REQUEST_ID,
      component: 'log-buffer',
      metadata: { lost, since: new Date(lost_since).toISOString() },
    };
    this.keep(entry.log_id, JSON.stringify(entry), now);
    this.sql.exec('UPDATE state SET lost = 0, lost_since = 0');
  }

  /** When the oldest entry came; null if none waits. */
  private oldestReceivedAt(): number | null {
    const [oldest] = this.sql
      .exec<{ received_at: number }>('SELECT received_at FROM entries ORDER BY sequence LIMIT 1')
      .toArray();
    return oldest?.received_at ?? null;
  }

  /** A batch is full or old enough, and D1 is not being left alone after a failure. */
  private isDue(): boolean {
    const now = Date.now();
    const oldest = this.oldestReceivedAt();
    if (oldest === null || now < this.state().retry_at) {
      return false;
    }
    return this.count >= BATCH_ENTRIES || now >= oldest + BATCH_AGE_MS;
  }

  /** Writes what is due. One flush runs at a time; what comes meanwhile joins it. */
  private async flush(): Promise<void> {
    this.flushing ??= this.writeBatches().finally(() => {
      this.flushing = null;
    });
    await this.flushing;
  }

  private async writeBatches(): Promise<void> {
    while (this.isDue()) {
      const rows = this.sql
        .exec<EntryRow>(
          'SELECT sequence, received_at, entry FROM entries ORDER BY sequence LIMIT ?',
          BATCH_ENTRIES,
        )
        .toArray();
      try {
        await this.writeRows(rows);
      } catch (error) {
        this.postpone(error);
        break;
      }
      this.remove(rows);
      this.sql.exec('UPDATE state SET failures = 0, retry_at = 0 WHERE failures > 0');
      this.recordLoss(Date.now());
    }
    await this.scheduleNext();
  }

  private async writeRows(rows: readonly EntryRow[]): Promise<void> {
    const entries = rows.map(({ entry }): IdentifiedLogEntry => JSON.parse(entry));
    try {
      await writeLogs(this.env.DB, entries, Date.now());
    } catch (error) {
      if (violatedConstraint(error) === null) {
        throw error;
      }
      // One entry that the table refuses must not hold up all the others for ever.
      await this.writeOneByOne(entries);
    }
  }

  private async writeOneByOne(entries: readonly IdentifiedLogEntry[]): Promise<void> {
    for (const entry of entries) {
      try {
        await writeLogs(this.env.DB, [entry], Date.now());
      } catch (error) {
        if (violatedConstraint(error) === null) {
          throw error;
        }
        this.countLoss(1, Date.now());
      }
    }
  }

  private remove(rows: readonly EntryRow[]): void {
    const last = rows.at(-1);
    if (last !== undefined) {
      this.sql.exec('DELETE FROM entries WHERE sequence <= ?', last.sequence);
      this.count -= rows.length;
    }
  }

  private postpone(error: unknown): void {
    const { failures } = this.state();
    const delay = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** failures);
    this.sql.exec('UPDATE state SET failures = failures + 1, retry_at = ?', Date.now() + delay);
    this.complain('log entries could not be written', {
      kept: this.count,
      failures: failures + 1,
      error: error instanceof Error ? redactText(error.message) : typeof error,
    });
  }

  private complain(message: string, metadata: object): void {
    console.error(JSON.stringify({ level: 'ERROR', component: 'log-buffer', message, metadata }));
  }

  /** An alarm stands whenever something waits; it is what a restart goes on from. */
  private async scheduleNext(): Promise<void> {
    const oldest = this.oldestReceivedAt();
    if (oldest === null) {
      await this.ctx.storage.deleteAlarm();
      return;
    }
    const due = Math.max(oldest + BATCH_AGE_MS, this.state().retry_at);
    if ((await this.ctx.storage.getAlarm()) !== due) {
      await this.ctx.storage.setAlarm(due);
    }
  }
}
