// The Durable Object that admits requests: one for each provider of an instance. The rules stand in window.ts; here is
// what makes them outlive a restart. No method awaits anything between counting and adding, so that however many requests
// come at once, each is counted before the next one is looked at.
import { DurableObject } from 'cloudflare:workers';
import { type Decision, type Entry, type Limits, RollingWindow } from './window';

export interface CheckLimitOptions extends Limits {
  /** What the request will use, if it is known before; `recordRequest` corrects it. */
  tokens?: number | undefined;
}

export class RateLimiter extends DurableObject {
  private readonly window: RollingWindow;
  private hasTable: boolean;
  private hasAlarm = false;

  constructor(ctx: DurableObjectState, env: Cloudflare.Env) {
    super(ctx, env);
    const { sql } = ctx.storage;
    this.hasTable =
      sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'admissions'").toArray().length > 0;
    const rows = this.hasTable
      ? sql.exec<{ id: number; admitted_at_ms: number; tokens: number }>(
          'SELECT id, admitted_at_ms, tokens FROM admissions ORDER BY id',
        )
      : [];
    this.window = new RollingWindow(
      Array.from(rows, ({ id, admitted_at_ms, tokens }) => ({
        id,
        admittedAtMs: admitted_at_ms,
        tokens,
      })),
    );
  }

  /** Admits the request and counts it, or refuses it, which uses up nothing. */
  checkLimit({ rpm, tpm, tokens = 0 }: CheckLimitOptions): Decision {
    const now = Date.now();
    this.dropOld(now);
    const outcome = this.window.admit(now, { rpm, tpm }, tokens);
    if ('allowed' in outcome) {
      return outcome;
    }
    this.store(outcome);
    this.wakeWhenEmpty();
    return { allowed: true, admissionId: outcome.id };
  }

  /** Settles what an admitted request has used. One that has left the window meanwhile counts nowhere any more. */
  recordRequest(admissionId: number, tokensUsed: number): void {
    if (this.window.settle(admissionId, tokensUsed)) {
      this.ctx.storage.sql.exec(
        'UPDATE admissions SET tokens = ? WHERE id = ?',
        tokensUsed,
        admissionId,
      );
    }
  }

  /** Leaves nothing behind once nobody has come for a whole window: an object without storage costs nothing. */
  override async alarm(): Promise<void> {
    this.hasAlarm = false;
    this.dropOld(Date.now());
    if (this.window.size > 0) {
      this.wakeWhenEmpty();
      return;
    }
    this.hasTable = false;
    await this.ctx.storage.deleteAll();
  }

  private dropOld(now: number): void {
    const droppedId = this.window.drop(now);
    if (droppedId !== null) {
      this.ctx.storage.sql.exec('DELETE FROM admissions WHERE id <= ?', droppedId);
    }
  }

  private store({ id, admittedAtMs, tokens }: Entry): void {
    const { sql } = this.ctx.storage;
    if (!this.hasTable) {
      // The id is the row's own number, so that there is no index beside the table to be written.
      sql.exec(
        `CREATE TABLE IF NOT EXISTS admissions (
           id INTEGER PRIMARY KEY, admitted_at_ms INTEGER NOT NULL, tokens INTEGER NOT NULL
         ) STRICT`,
      );
      this.hasTable = true;
    }
    sql.exec(
      'INSERT INTO admissions (id, admitted_at_ms, tokens) VALUES (?, ?, ?)',
      id,
      admittedAtMs,
      tokens,
    );
  }

  /** One alarm for a whole window: it finds out itself whether there is still something to wait for. */
  private wakeWhenEmpty(): void {
    const emptyAtMs = this.window.emptyAtMs;
    if (!this.hasAlarm && emptyAtMs !== null) {
      this.hasAlarm = true;
      this.ctx.waitUntil(this.ctx.storage.setAlarm(emptyAtMs));
    }
  }
}
