// The calls that the page makes of the Config Service, each with a time limit, and what can go wrong with one.
import { isMetrics, type Metrics } from './metrics';
import type { Selection } from './selection';

export const TIME_LIMIT_MS = 15_000;
const PAGE_LIMIT = 100;
/** A server that repeats its cursor must not be asked forever. */
const PAGES_MAX = 50;

export class ApiFailure extends Error {
  override readonly name = 'ApiFailure';

  constructor(
    message: string,
    readonly status: number | null = null,
    readonly requestId: string | null = null,
  ) {
    super(message);
  }
}

export interface Instance {
  instanceId: string;
  name: string;
}

export interface MetricsApi {
  instances: (signal?: AbortSignal) => Promise<Instance[]>;
  metrics: (selection: Selection, signal?: AbortSignal) => Promise<Metrics>;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function refusalOf(response: Response, body: Record<string, unknown>): ApiFailure {
  const requestId = body.request_id ?? response.headers.get('X-Request-ID');
  const message = typeof body.error === 'string' ? body.error : 'The service gave no reason.';
  return new ApiFailure(message, response.status, typeof requestId === 'string' ? requestId : null);
}

async function readAnswer(response: Response): Promise<Record<string, unknown>> {
  const text = await response.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new ApiFailure('The answer of the Config Service is no JSON.', response.status);
  }
  if (!isRecord(body)) {
    throw new ApiFailure('The answer of the Config Service is no object.', response.status);
  }
  if (!response.ok) {
    throw refusalOf(response, body);
  }
  return body;
}

function instanceOf(item: unknown): Instance[] {
  if (!isRecord(item) || typeof item.instance_id !== 'string') {
    return [];
  }
  const name = typeof item.name === 'string' ? item.name : item.instance_id;
  return [{ instanceId: item.instance_id, name }];
}

export function createApi(baseUrl: string, key: string, load: typeof fetch): MetricsApi {
  async function get(path: string, query: Record<string, string>, signal?: AbortSignal) {
    const controller = new AbortController();
    const abort = () => controller.abort();
    signal?.addEventListener('abort', abort);
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      abort();
    }, TIME_LIMIT_MS);
    try {
      const response = await load(`${baseUrl}${path}?${new URLSearchParams(query)}`, {
        headers: { Authorization: `Bearer ${key}` },
        credentials: 'omit',
        cache: 'no-store',
        signal: controller.signal,
      });
      return await readAnswer(response);
    } catch (error) {
      if (error instanceof ApiFailure || signal?.aborted) {
        throw error;
      }
      throw new ApiFailure(
        timedOut
          ? `The Config Service did not answer within ${TIME_LIMIT_MS / 1000} seconds.`
          : `${baseUrl} cannot be reached, or does not allow this page's origin.`,
      );
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  return {
    async instances(signal) {
      const found: Instance[] = [];
      const query: Record<string, string> = { limit: String(PAGE_LIMIT) };
      for (let page = 0; page < PAGES_MAX; page += 1) {
        const { items, next_cursor: cursor } = await get('/instance', query, signal);
        if (!Array.isArray(items)) {
          throw new ApiFailure('The answer of the Config Service holds no instances.');
        }
        found.push(...items.flatMap(instanceOf));
        if (typeof cursor !== 'string') {
          break;
        }
        query.cursor = cursor;
      }
      return found.sort((a, b) => a.instanceId.localeCompare(b.instanceId));
    },

    async metrics({ range, instanceIds }, signal) {
      const some = instanceIds.length > 0;
      const query = { range, ...(some ? { instance_id: instanceIds.join(',') } : {}) };
      const body: unknown = await get('/metrics', query, signal);
      if (!isMetrics(body)) {
        throw new ApiFailure('The answer of the Config Service holds no metrics.');
      }
      return body;
    },
  };
}
