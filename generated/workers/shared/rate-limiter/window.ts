// The rules of admission as a pure state machine: a window that rolls entry by entry, with the sums it is asked for kept
// up to date, so that a decision costs the same however full the window is.

export const WINDOW_MS = 60_000;

export interface Limits {
  /** Requests per window; absent: no limit; 0 admits nothing. */
  rpm?: number | undefined;
  /** Tokens per window; absent: no limit; 0 admits nothing. */
  tpm?: number | undefined;
}

export interface Entry {
  id: number;
  admittedAtMs: number;
  tokens: number;
}

/** `never`: no waiting helps, because the request alone is more than a limit. */
export type RefusalReason = 'requests' | 'tokens' | 'never';

export type Decision =
  | { allowed: true; admissionId: number }
  | { allowed: false; retryAfterSeconds: number; reason: RefusalReason };

/** Room for so many admissions within one millisecond, before ids run ahead of the clock. */
const IDS_PER_MS = 1000;
/** Entries that have left are cut off the array only now and then, since that moves all the others. */
const LEFT_ENTRIES_MAX = 1024;

export class RollingWindow {
  private entries: Entry[];
  /** The index of the first entry that is still in the window. */
  private first = 0;
  private tokens = 0;

  /** `entries` in the order of their admission. */
  constructor(entries: readonly Entry[] = []) {
    this.entries = [...entries];
    for (const entry of entries) {
      this.tokens += entry.tokens;
    }
  }

  get size(): number {
    return this.entries.length - this.first;
  }

  /** When the window will be empty if nothing is added; null if it is. */
  get emptyAtMs(): number | null {
    const last = this.last;
    return last === undefined ? null : last.admittedAtMs + WINDOW_MS;
  }

  /** Drops the entries that are older than the window; the id of the last one dropped, or null if none was. */
  drop(nowMs: number): number | null {
    const now = this.steady(nowMs);
    let droppedId: number | null = null;
    for (
      let oldest = this.entries[this.first];
      oldest !== undefined && oldest.admittedAtMs + WINDOW_MS <= now;
      oldest = this.entries[this.first]
    ) {
      droppedId = oldest.id;
      this.tokens -= oldest.tokens;
      this.first += 1;
    }
    if (this.first > LEFT_ENTRIES_MAX || this.size === 0) {
      this.entries = this.entries.slice(this.first);
      this.first = 0;
    }
    return droppedId;
  }

  /** Counts and adds in one step. The entry that is new, or why there is none. */
  admit(
    nowMs: number,
    { rpm, tpm }: Limits,
    tokens: number,
  ): Entry | Extract<Decision, { allowed: false }> {
    const now = this.steady(nowMs);
    this.drop(now);
    // Of a request whose tokens are not known yet, it is known that it needs some.
    const needed = Math.max(tokens, 1);
    if ((rpm !== undefined && rpm < 1) || (tpm !== undefined && tpm < needed)) {
      return { allowed: false, retryAfterSeconds: WINDOW_MS / 1000, reason: 'never' };
    }
    const roomForRequestAtMs = rpm === undefined ? now : this.roomForRequestAt(rpm, now);
    const roomForTokensAtMs = tpm === undefined ? now : this.roomForTokensAt(tpm - needed, now);
    const roomAtMs = Math.max(roomForRequestAtMs, roomForTokensAtMs);
    if (roomAtMs > now) {
      return {
        allowed: false,
        retryAfterSeconds: Math.max(1, Math.ceil((roomAtMs - now) / 1000)),
        reason: roomForTokensAtMs > roomForRequestAtMs ? 'tokens' : 'requests',
      };
    }
    const entry = { id: this.nextId(now), admittedAtMs: now, tokens };
    this.entries.push(entry);
    this.tokens += tokens;
    return entry;
  }

  /** Corrects the tokens of an entry; false if it has left the window. */
  settle(id: number, tokens: number): boolean {
    const entry = this.find(id);
    if (entry === undefined) {
      return false;
    }
    this.tokens += tokens - entry.tokens;
    entry.tokens = tokens;
    return true;
  }

  private get last(): Entry | undefined {
    return this.size === 0 ? undefined : this.entries.at(-1);
  }

  /** A clock that was set back stands still until it has caught up, so that entries stay in the order of time. */
  private steady(nowMs: number): number {
    return Math.max(nowMs, this.last?.admittedAtMs ?? nowMs);
  }

  /** Ids begin with the time, so that none comes twice, even after the object has emptied itself. */
  private nextId(now: number): number {
    return Math.max(now * IDS_PER_MS, (this.last?.id ?? 0) + 1);
  }

  /** When fewer than `rpm` requests are left. */
  private roomForRequestAt(rpm: number, now: number): number {
    const inTheWay = this.size - rpm;
    const lastInTheWay = inTheWay < 0 ? undefined : this.entries[this.first + inTheWay];
    return lastInTheWay === undefined ? now : lastInTheWay.admittedAtMs + WINDOW_MS;
  }

  /** When at most `tokensLeft` tokens are left. */
  private roomForTokensAt(tokensLeft: number, now: number): number {
    let remaining = this.tokens;
    let roomAtMs = now;
    for (let index = this.first; remaining > tokensLeft; index += 1) {
      const entry = this.entries[index];
      if (entry === undefined) {
        break;
      }
      remaining -= entry.tokens;
      roomAtMs = entry.admittedAtMs + WINDOW_MS;
    }
    return roomAtMs;
  }

  /** Entries are in the order of their ids. */
  private find(id: number): Entry | undefined {
    let low = this.first;
    let high = this.entries.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const entry = this.entries[middle];
      if (entry === undefined || entry.id === id) {
        return entry;
      }
      if (entry.id < id) {
        low = middle + 1;
      } else {
        high = middle - 1;
      }
    }
    return undefined;
  }
}
