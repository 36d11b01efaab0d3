// The faults that a test can script for the mock Ideogram, and what they do to an answer.

/** Where a fault strikes: at a request to generate, at one for a generation's status, or at one for an image. */
export type MockStage = 'submit' | 'poll' | 'image';

export type MockFault =
  /** Waits, by the clock that the mock was given, and then goes on as if nothing were wrong. */
  | { kind: 'latency'; milliseconds: number }
  /** Any answer at all; the body is `{ "error": ... }` unless given. */
  | { kind: 'status'; status: number; body?: unknown; retryAfter?: string }
  /** 429, because too many images are in progress. */
  | { kind: 'inflight-limit'; retryAfter?: string }
  /** Says nothing until the caller aborts. */
  | { kind: 'hang' }
  /** No connection: `fetch` rejects. */
  | { kind: 'no-connection' }
  /** The body breaks off in the middle. */
  | { kind: 'drop-body' }
  /** The status and the beginning of the body arrive, the rest never does. */
  | { kind: 'stall-body' }
  /** Success, with a body that is no JSON. */
  | { kind: 'malformed-json' }
  /** Success, without these fields, wherever they stand. */
  | { kind: 'missing-fields'; fields: readonly string[] }
  /** Success, with these fields changed, wherever they stand. */
  | { kind: 'wrong-fields'; fields: Readonly<Record<string, unknown>> }
  /** At `submit`: what becomes of this generation. An unsafe one is a success with a link that is empty or null. */
  | { kind: 'unsafe' }
  | { kind: 'pending'; polls: number | 'endless' }
  | { kind: 'failed'; reason: string }
  /** At `image`: as many bytes, said in the header or not, or something that is no image. */
  | { kind: 'huge-image'; bytes: number; declared: boolean }
  | { kind: 'not-an-image'; contentType: string };

/** For people and for tests through a browser: `[mock:unsafe]` in a prompt does the same as the fault in a test. */
export const FAULTS_BY_PROMPT: Readonly<Record<string, MockFault>> = {
  unsafe: { kind: 'unsafe' },
  failed: { kind: 'failed', reason: 'internal_error' },
  endless: { kind: 'pending', polls: 'endless' },
  slow: { kind: 'pending', polls: 8 },
  rejected: {
    kind: 'status',
    status: 422,
    body: { error: 'Prompt did not pass the safety check' },
  },
  'no-funds': {
    kind: 'status',
    status: 402,
    body: { error: 'Insufficient funds', reject_reason: 'insufficient_funds' },
  },
  busy: { kind: 'inflight-limit' },
  broken: { kind: 'status', status: 500 },
};

export function faultOfPrompt(prompt: string): MockFault | undefined {
  const name = /\[mock:([a-z-]+)\]/.exec(prompt)?.[1];
  return name === undefined ? undefined : FAULTS_BY_PROMPT[name];
}

/** Never settles, unless the caller gives up. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const giveUp = () => reject(new DOMException('The operation was aborted.', 'AbortError'));
    if (signal.aborted) {
      giveUp();
    }
    signal.addEventListener('abort', giveUp);
  });
}

/** The first half of a body, after which it breaks off, or nothing more comes. */
export function cutOff(bytes: Uint8Array, end: 'drop' | 'stall'): ReadableStream<Uint8Array> {
  let sent = false;
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      if (!sent) {
        sent = true;
        controller.enqueue(bytes.slice(0, Math.ceil(bytes.length / 2)));
      } else if (end === 'drop') {
        controller.error(new TypeError('Network connection lost.'));
      } else {
        return new Promise<void>(() => {});
      }
      return undefined;
    },
  });
}

/** Zeros behind a PNG's signature, without ever holding them all. */
export function manyBytes(total: number): ReadableStream<Uint8Array> {
  const first = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  let left = total;
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      const piece = left === total ? first : new Uint8Array(65_536);
      const bytes = piece.subarray(0, Math.min(left, piece.length));
      left -= bytes.length;
      controller.enqueue(bytes.slice());
      if (left === 0) {
        controller.close();
      }
    },
  });
}

/** The same value with every field of these names changed, or left out where the change is undefined. */
export function changeFields(value: unknown, changes: Readonly<Record<string, unknown>>): unknown {
  if (Array.isArray(value)) {
    return value.map((item) => changeFields(item, changes));
  }
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  return Object.fromEntries(
    Object.entries(value)
      .map(([name, field]): [string, unknown] => [
        name,
        name in changes ? changes[name] : changeFields(field, changes),
      ])
      .filter(([, field]) => field !== undefined),
  );
}
