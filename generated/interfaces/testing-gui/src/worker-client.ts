// Calls of the image-generation Worker, and everything that can come of one.
import { isRecord, textOr } from './values';

/** Longer than the 60 s that the Worker gives itself, so that its own 504, which names the job, arrives first. */
export const TIME_LIMIT_MS = 90_000;

export interface GeneratedImage {
  imageUrl: string;
  r2Path: string;
  provider: string;
  model: string;
  dimensions: string;
  generationTimeMs: number | null;
  requestId: string;
}

export interface Refusal {
  status: number;
  code: string | null;
  message: string;
  requestId: string | null;
  retryAfterSeconds: number | null;
  jobId: string | null;
}

export type Outcome =
  | { kind: 'image'; image: GeneratedImage }
  | { kind: 'job-pending'; jobId: string; requestId: string | null }
  | { kind: 'job-failed'; jobId: string; reason: string; requestId: string | null }
  | { kind: 'refused'; refusal: Refusal }
  /** An answer that is no JSON, or not of the contract's form. */
  | { kind: 'unreadable'; status: number; detail: string; requestId: string | null }
  | { kind: 'unreachable'; origin: string }
  | { kind: 'timed-out' }
  | { kind: 'cancelled' };

export interface CallOptions {
  key: string;
  signal: AbortSignal;
  fetch: typeof fetch;
}

export interface GenerateRequest {
  workerUrl: string;
  instanceId: string;
  prompt: string;
  /** Null for the provider's default. */
  model: string | null;
}

/** Seconds, from either form that HTTP allows. */
export function retryAfterSecondsOf(header: string | null, nowMs: number): number | null {
  if (header === null || header.trim() === '') {
    return null;
  }
  const seconds = /^\d+$/.test(header.trim())
    ? Number(header)
    : Math.ceil((Date.parse(header) - nowMs) / 1000);
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

function imageOf(body: Record<string, unknown>, requestId: string | null): GeneratedImage | null {
  const metadata = isRecord(body.metadata) ? body.metadata : {};
  const imageUrl = textOr(body.image_url, null);
  if (imageUrl === null) {
    return null;
  }
  const time = metadata.generation_time_ms;
  return {
    imageUrl,
    r2Path: textOr(body.r2_path, '–'),
    provider: textOr(metadata.provider, '–'),
    model: textOr(metadata.model, '–'),
    dimensions: textOr(metadata.dimensions, '–'),
    generationTimeMs: typeof time === 'number' ? time : null,
    requestId: requestId ?? '–',
  };
}

function outcomeOf(response: Response, text: string): Outcome {
  const { status } = response;
  const headerId = textOr(response.headers.get('X-Request-ID'), null);
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    const detail = 'The answer is no JSON.';
    return { kind: 'unreadable', status, detail, requestId: headerId };
  }
  const fields = isRecord(body) ? body : {};
  const requestId = textOr(fields.request_id, headerId);
  if (!response.ok) {
    const refusal: Refusal = {
      status,
      code: textOr(fields.code, null),
      message: textOr(fields.error, 'The Worker gave no reason.'),
      requestId,
      retryAfterSeconds: retryAfterSecondsOf(response.headers.get('Retry-After'), Date.now()),
      jobId: textOr(fields.job_id, null),
    };
    return { kind: 'refused', refusal };
  }
  const jobId = textOr(fields.job_id, '–');
  if (fields.status === 'pending') {
    return { kind: 'job-pending', jobId, requestId };
  }
  if (fields.status === 'failed') {
    return { kind: 'job-failed', jobId, reason: textOr(fields.reason, 'UNKNOWN'), requestId };
  }
  const image = imageOf(fields, requestId);
  if (image === null) {
    const detail = 'The answer is JSON, but names no image.';
    return { kind: 'unreadable', status, detail, requestId };
  }
  return { kind: 'image', image };
}

async function call(url: string, init: RequestInit, options: CallOptions): Promise<Outcome> {
  const controller = new AbortController();
  const cancel = () => controller.abort();
  options.signal.addEventListener('abort', cancel);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    controller.abort();
  }, TIME_LIMIT_MS);
  try {
    const response = await options.fetch(url, {
      ...init,
      headers: { ...init.headers, Authorization: `Bearer ${options.key}` },
      // The key is the only credential, and an answer must not linger in a cache.
      credentials: 'omit',
      cache: 'no-store',
      signal: controller.signal,
    });
    return outcomeOf(response, await response.text());
  } catch {
    if (options.signal.aborted) {
      return { kind: 'cancelled' };
    }
    return timedOut ? { kind: 'timed-out' } : { kind: 'unreachable', origin: new URL(url).origin };
  } finally {
    clearTimeout(timer);
    options.signal.removeEventListener('abort', cancel);
  }
}

export function generateImage(request: GenerateRequest, options: CallOptions): Promise<Outcome> {
  const body = {
    prompt: request.prompt,
    instance_id: request.instanceId,
    ...(request.model === null ? {} : { model: request.model }),
  };
  const init = {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  };
  return call(`${request.workerUrl}/generate`, init, options);
}

export function fetchJob(workerUrl: string, jobId: string, options: CallOptions): Promise<Outcome> {
  return call(`${workerUrl}/jobs/${encodeURIComponent(jobId)}`, { method: 'GET' }, options);
}
