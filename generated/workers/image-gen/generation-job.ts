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
  /** Its request has ended with a 504. */
  | { kind: 'pending'; providerJobId: string | null; heldUntilMs: number }
  | { kind: 'completed'; delivery: Delivery }
  | { kind: 'failed'; reason: ErrorCode };

export interface JobRecord {
  generation: Generation;
  /** Of the request that began it, to tell a repetition from another request. */
  fingerprint: string | null;
  state: JobState;
  expiresAtMs: number;
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

export class GenerationJob extends DurableObject {
  /** The record, unless there is none or its time is over. */
  read(): JobRecord | null {
    const record = this.ctx.storage.kv.get<JobRecord>(KEY);
    return record === undefined || record.expiresAtMs <= Date.now() ? null : record;
  }

  /** A request with a `request_id` asks whether it is the first. */
  claim(generation: Generation, fingerprint: string, holdMs: number): Claim {
    const record = this.read();
    const now = Date.now();
    const heldUntilMs = now + holdMs;
    if (record === null) {
      this.create(generation, fingerprint, { kind: 'running', providerJobId: null, heldUntilMs });
      return { kind: 'begin' };
    }
    if (record.fingerprint !== fingerprint) {
      return { kind: 'other_request' };
    }
    if (record.state.kind !== 'running') {
      return { kind: 'known', record };
    }
    if (record.state.heldUntilMs > now) {
      return { kind: 'running' };
    }
    const { providerJobId } = record.state;
    this.update(record, { kind: 'running', providerJobId, heldUntilMs });
    return providerJobId === null
      ? { kind: 'begin' }
      : { kind: 'resume', generation: record.generation, providerJobId };
  }

  /** The provider has taken the job; from now on whoever goes on with it goes on with that one. */
  noteProviderJob(providerJobId: string, admissionId?: number | null): void {
    const record = this.read();
    if (record !== null && (record.state.kind === 'running' || record.state.kind === 'pending')) {
      const { generation } = record;
      const known = { ...generation, admissionId: admissionId ?? generation.admissionId };
      this.update({ ...record, generation: known }, { ...record.state, providerJobId });
    }
  }

  /**
   * The claim ends without an image. With `resumable` the next attempt goes on with what the provider has, if it has
   * something; else it begins anew.
   */
  async release(resumable: boolean): Promise<void> {
    const record = this.read();
    if (record?.state.kind !== 'running') {
      return;
    }
    if (resumable && record.state.providerJobId !== null) {
      this.update(record, { ...record.state, heldUntilMs: 0 });
      return;
    }
    await this.ctx.storage.deleteAll();
  }

  /** The request ends with a 504; the job goes on without it. */
  suspend(generation: Generation, providerJobId: string | null): void {
    const record = this.read();
    const state: JobState = { kind: 'pending', providerJobId, heldUntilMs: 0 };
    if (record === null) {
      this.create(generation, null, state);
    } else if (record.state.kind === 'running') {
      this.update({ ...record, generation }, state);
    }
  }

  /** Takes a pending job to move it on. False if somebody else has it, or it is not pending any more. */
  hold(holdMs: number): boolean {
    const record = this.read();
    const now = Date.now();
    if (record?.state.kind !== 'pending' || record.state.heldUntilMs > now) {
      return false;
    }
    this.update(record, { ...record.state, heldUntilMs: now + holdMs });
    return true;
  }

  letGo(): void {
    const record = this.read();
    if (record?.state.kind === 'pending') {
      this.update(record, { ...record.state, heldUntilMs: 0 });
    }
  }

  complete(delivery: Delivery): void {
    const record = this.read();
    // A job that somebody has given up may still come to a good end by somebody else, but not the other way round.
    if (record !== null && record.state.kind !== 'completed') {
      this.update(record, { kind: 'completed', delivery });
    }
  }

  fail(reason: ErrorCode): void {
    const record = this.read();
    if (record?.state.kind === 'pending') {
      this.update(record, { kind: 'failed', reason });
    }
  }

  override async alarm(): Promise<void> {
    await this.ctx.storage.deleteAll();
  }

  private create(generation: Generation, fingerprint: string | null, state: JobState): void {
    const expiresAtMs = Date.now() + REMEMBERED_MS;
    this.ctx.storage.kv.put<JobRecord>(KEY, { generation, fingerprint, state, expiresAtMs });
    this.ctx.waitUntil(this.ctx.storage.setAlarm(expiresAtMs));
  }

  private update(record: JobRecord, state: JobState): void {
    this.ctx.storage.kv.put<JobRecord>(KEY, { ...record, state });
  }
}
