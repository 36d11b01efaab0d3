// The Durable Object that holds one circuit for all isolates: one for each provider of an instance. The rules stand in
// circuit-breaker.ts; here is only what keeps their state. No method awaits anything between reading and writing it, so
// that calls cannot come between each other.
import { DurableObject } from 'cloudflare:workers';
import {
  type Admission,
  admit,
  type Circuit,
  type CircuitSettings,
  NEW_CIRCUIT,
  noteSuccess,
  type Report,
  report,
} from './circuit-breaker';

export class CircuitBreaker extends DurableObject {
  private circuit: Circuit = NEW_CIRCUIT;

  constructor(ctx: DurableObjectState, env: Cloudflare.Env) {
    super(ctx, env);
    ctx.storage.sql.exec(
      'CREATE TABLE IF NOT EXISTS circuit (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL)',
    );
    const [row] = ctx.storage.sql.exec<{ state: string }>('SELECT state FROM circuit').toArray();
    if (row !== undefined) {
      this.circuit = JSON.parse(row.state);
    }
  }

  /** May a call pass? `lastSuccessAt` is a success that the asking isolate has not told yet. */
  ask(settings: CircuitSettings, lastSuccessAt: number | null): Admission {
    const now = Date.now();
    const { circuit, admission } = admit(this.withSuccess(lastSuccessAt, now), settings, now);
    this.keep(circuit);
    return admission;
  }

  /** How a call went. */
  tell(
    settings: CircuitSettings,
    { epoch, outcome, at }: Report,
    lastSuccessAt: number | null,
  ): void {
    const now = Date.now();
    const told = { epoch, outcome, at: Math.min(at, now) };
    this.keep(report(this.withSuccess(lastSuccessAt, now), settings, told, now));
  }

  /** A clock that runs ahead must not clear failures that are still to come. */
  private withSuccess(lastSuccessAt: number | null, now: number): Circuit {
    return lastSuccessAt === null
      ? this.circuit
      : noteSuccess(this.circuit, Math.min(lastSuccessAt, now));
  }

  /** Writes only what has changed: a provider that is well costs no write at all. */
  private keep(circuit: Circuit): void {
    if (circuit !== this.circuit) {
      this.circuit = circuit;
      this.ctx.storage.sql.exec(
        'INSERT INTO circuit (id, state) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state',
        JSON.stringify(circuit),
      );
    }
  }
}
