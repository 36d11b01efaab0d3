// The Durable Object of one generation that has to be remembered: because its caller gave it a `request_id`, or because it
// outlived its request. It keeps what is needed to go on with it, and sees to it that only one goes on at a time. No method
// awaits anything between reading and writing, so that calls cannot come between each other.
import { DurableObject } from 'cloudflare:workers';
import type { ErrorCode } from '@/workers/shared/error-handling/errors';
import type { Delivery, Generation } from './generation';

/** For so long is a job, or the answer to a `request_id`, remembered. */
export const REMEMBERED_MS = 24 * 60 * 60 * 1000;

/** `heldUntilMs`: somebody is at work on it until then at the latest; later, that somebody is gone. */
export type JobState =
  /** Its request is still open. */
  | { kind: 'running'; providerJobId: string | null; heldUntilMs: number }
  /** Its request has ended; the provider has not. */
  | { kind: 'pending'; providerJobId: string; heldUntilMs: number }
  | { kind: 'completed'; delivery: Delivery }
  | { kind: 'failed'; reason: ErrorCode };

export interface JobRecord {
  generation: Generation;
  /** Of the request that began it, to tell a repetition from another request. */
  fingerprint: string | null;
  /** Its request was answered with a 504, and is whenever it comes again. */
  outlivedRequest: boolean;
  state: JobState;
}

export type Claim =
  /** The caller is the one to generate. */
  | { kind: 'begin' }
  /** An earlier attempt was broken off after the provider had taken the job: go on with that. */
  | { kind: 'resume'; generation: Generation; providerJobId: string }
  | { kind: 'running' }
  | { kind: 'other_request' }
  | { kind: 'known'; record: JobRecord };

const KEY = 'job';

function expiryOf({ startedAtMs }: Generation): number {
  return startedAtMs + REMEMBERED_MS;
}

export class GenerationJob extends DurableObject {
  /** Set by this isolate; setting it once more after a restart does no harm. */
  private hasAlarm = false;

  /** The record, unless there is none or its time is over. */
  read(): JobRecord | null {
    const record = this.ctx.storage.kv.get<JobRecord>(KEY);
    return record === undefined || expiryOf(record.generation) <= Date.now() ? null : record;
  }

  /** A request with a `request_id` asks whether it is the first. It will be at work until `heldUntilMs`. */
  claim(generation: Generation, fingerprint: string, heldUntilMs: number): Claim {
    const record = this.read();
    const isSame = record?.fingerprint === fingerprint;
    if (record !== null && !this.isAbandoned(record)) {
      if (!isSame) {
        return { kind: 'other_request' };
      }
      return record.state.kind === 'running' ? { kind: 'running' } : { kind: 'known', record };
    }
    if (isSame && record.state.kind === 'running' && record.state.providerJobId !== null) {
      const { providerJobId } = record.state;
      this.write({ ...record, state: { kind: 'running', providerJobId, heldUntilMs } });
      return { kind: 'resume', generation: record.generation, providerJobId };
    }
    this.write({
      generation,
      fingerprint,
      outlivedRequest: false,
      state: { kind: 'running', providerJobId: null, heldUntilMs },
    });
    return { kind: 'begin' };
  }

  /** The provider has taken the job; from now on whoever goes on with it goes on with that one. */
  noteProviderJob(providerJobId: string, admissionId: number | null): void {
    const record = this.read();
    if (record?.state.kind === 'running') {
      const generation = { ...record.generation, admissionId };
      this.write({ ...record, generation, state: { ...record.state, providerJobId } });
    }
  }

  /**
   * The claim ends without an answer that is kept. With `resumable` the next attempt goes on with what the provider has, if
   * it has something; else it begins anew.
   */
  async release(resumable: boolean): Promise<void> {
    const record = this.read();
    if (record?.state.kind !== 'running') {
      return;
    }
    if (resumable && record.state.providerJobId !== null) {
      this.write({ ...record, state: { ...record.state, heldUntilMs: 0 } });
      return;
    }
    await this.empty();
  }

  /** The request ends with a 504; the job goes on without it, if the provider has named one. */
  suspend(generation: Generation, providerJobId: string | null): void {
    this.write({
      generation,
      fingerprint: this.read()?.fingerprint ?? null,
      outlivedRequest: true,
      state:
        providerJobId === null
          ? { kind: 'failed', reason: 'PROVIDER_TIMEOUT' }
          : { kind: 'pending', providerJobId, heldUntilMs: 0 },
    });
  }

  /** Takes a pending job to move it on. False if somebody else has it, or it is not pending any more. */
  hold(holdMs: number): boolean {
    const record = this.read();
    const now = Date.now();
    if (record?.state.kind !== 'pending' || record.state.heldUntilMs > now) {
      return false;
    }
    this.write({ ...record, state: { ...record.state, heldUntilMs: now + holdMs } });
    return true;
  }

  letGo(): void {
    const record = this.read();
    if (record?.state.kind === 'pending') {
      this.write({ ...record, state: { ...record.state, heldUntilMs: 0 } });
    }
  }

  complete(delivery: Delivery): void {
    this.end({ kind: 'completed', delivery });
  }

  fail(reason: ErrorCode): void {
    this.end({ kind: 'failed', reason });
  }

  override async alarm(): Promise<void> {
    const record = this.read();
    if (record === null) {
      await this.empty();
      return;
    }
    // What is there now began after the alarm was set.
    await this.ctx.storage.setAlarm(expiryOf(record.generation));
  }

  private async empty(): Promise<void> {
    this.hasAlarm = false;
    await this.ctx.storage.deleteAll();
  }

  /** Whoever was at work on it is gone, and has promised nothing. */
  private isAbandoned({ state }: JobRecord): boolean {
    return state.kind === 'running' && state.heldUntilMs <= Date.now();
  }

  /** What was completed or failed stays so. */
  private end(state: JobState): void {
    const record = this.read();
    if (record?.state.kind === 'running' || record?.state.kind === 'pending') {
      this.write({ ...record, state });
    }
  }

  private write(record: JobRecord): void {
    this.ctx.storage.kv.put<JobRecord>(KEY, record);
    if (!this.hasAlarm) {
      this.hasAlarm = true;
      this.ctx.waitUntil(this.ctx.storage.setAlarm(expiryOf(record.generation)));
    }
  }
}
