// Calls to a provider that always end: bounded in time and in size, and failing in one way only.
import { kindOfStatus, ProviderError, type ProviderErrorDetails, readRetryAfter } from './errors';
import { withLowerCaseNames } from './field-names';

/** An answer of an API, without images, is a few kilobytes. */
const MAX_ANSWER_BYTES = 1024 * 1024;

export interface CallContext {
  provider: string;
  jobId?: string | undefined;
  fetch: (request: Request) => Promise<Response>;
  now: () => Date;
  /** Fires when the time for this call is up. */
  signal: AbortSignal;
}

type Details = Omit<ProviderErrorDetails, 'provider' | 'jobId'>;

export function failure(context: Pick<CallContext, 'provider' | 'jobId'>, details: Details) {
  return new ProviderError({ provider: context.provider, jobId: context.jobId, ...details });
}

const timedOut = (context: CallContext) =>
  failure(context, { kind: 'timeout', message: 'no complete answer in time' });

/** Whatever breaks on the way is a broken connection. Its text is left out: it may hold the URL, or a header. */
function broken(context: CallContext, error: unknown): ProviderError {
  if (error instanceof ProviderError) {
    return error;
  }
  return context.signal.aborted
    ? timedOut(context)
    : failure(context, { kind: 'connection', message: 'the connection broke' });
}

/** The outcome of the work, or a timeout: also for work that does not heed the signal. */
export async function inTime<Result>(
  context: CallContext,
  work: () => Promise<Result>,
): Promise<Result> {
  let giveUp = () => {};
  const timeout = new Promise<never>((_, reject) => {
    giveUp = () => reject(timedOut(context));
  });
  context.signal.addEventListener('abort', giveUp);
  try {
    context.signal.throwIfAborted();
    return await Promise.race([work(), timeout]);
  } catch (error) {
    throw broken(context, error);
  } finally {
    context.signal.removeEventListener('abort', giveUp);
  }
}

export interface SizeLimit {
  maxBytes: number;
  tooLarge: () => ProviderError;
}

/** The same bytes, until there are too many of them, the time is up, or the source breaks off. */
export function bounded(
  context: CallContext,
  source: ReadableStream<Uint8Array>,
  limit: SizeLimit,
  /** Bytes at the beginning that were read from the source already. */
  head: Uint8Array = new Uint8Array(),
): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  let size = head.length;
  let pendingHead = head.length > 0;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (pendingHead) {
          pendingHead = false;
          controller.enqueue(head);
          return;
        }
        try {
          const { done, value } = await inTime(context, () => reader.read());
          if (done) {
            controller.close();
            return;
          }
          size += value.length;
          if (size > limit.maxBytes) {
            throw limit.tooLarge();
          }
          controller.enqueue(value);
        } catch (error) {
          // The source is told, but not waited for: it may be what hangs.
          reader.cancel().catch(() => {});
          throw error;
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/** Sends it, and gives the answer whatever its status is; only the way there can fail. */
export async function send(context: CallContext, request: Request): Promise<Response> {
  return await inTime(context, () => context.fetch(request));
}

async function readJson(context: CallContext, response: Response): Promise<unknown> {
  const nonsense = (message: string) =>
    failure(context, { kind: 'invalid_response', message, status: response.status });
  if (response.body === null) {
    return undefined;
  }
  const body = bounded(context, response.body, {
    maxBytes: MAX_ANSWER_BYTES,
    tooLarge: () => nonsense('the answer is far too long'),
  });
  const text = await new Response(body).text();
  try {
    return JSON.parse(text);
  } catch {
    throw nonsense('the answer is no JSON');
  }
}

/** Whatever the provider wrote there. For decisions only: it may quote the prompt, or the key. */
export function textIn(body: unknown, field: string): string | undefined {
  if (typeof body !== 'object' || body === null) {
    return undefined;
  }
  const text: unknown = Object.getOwnPropertyDescriptor(body, field)?.value;
  return typeof text === 'string' ? text : undefined;
}

/** The provider's own code for a failure, if it is one, all in one case: keys are written in both. */
export function codeIn(body: unknown, field: string): string | undefined {
  const code = textIn(body, field) ?? '';
  return /^(?:[a-z][a-z0-9_]{0,63}|[A-Z][A-Z0-9_]{0,63})$/.test(code) ? code : undefined;
}

/**
 * The JSON of a successful answer, its names in lower case; every other answer is thrown. `reasonField` is where the provider
 * explains a refusal.
 */
export async function callJson(
  context: CallContext,
  request: Request,
  reasonField: string,
): Promise<unknown> {
  const response = await send(context, request);
  if (response.ok) {
    return withLowerCaseNames(await readJson(context, response));
  }
  // An explanation that cannot be read does not change what the status says.
  const body = withLowerCaseNames(await readJson(context, response).catch(() => undefined));
  throw failure(context, {
    kind: kindOfStatus(response.status),
    message: `it answered ${response.status}`,
    status: response.status,
    retryAfterSeconds: readRetryAfter(response.headers.get('Retry-After'), context.now()),
    reason: codeIn(body, reasonField),
  });
}
