// The typed client of the Config Service: every call of the panel goes through it.
import { ApiFailure } from './failure';
import type {
  Access,
  ApiKey,
  CreatedApiKey,
  Instance,
  InstanceChange,
  LogEntry,
  LogQuery,
  Me,
  MetricRange,
  Metrics,
  NewApiKey,
  NewInstance,
  NewUser,
  Organization,
  Page,
  Project,
  User,
  UserChange,
} from './types';

const TIMEOUT_MILLISECONDS = 15_000;
/** The largest page that the contract gives. */
const PAGE_LIMIT = 100;
/** A selection of more than this is no selection any more, and a server that repeats its cursor must not loop forever. */
const PAGES_MAX = 20;

export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

export interface ClientOptions {
  baseUrl: string;
  key: string;
  fetch?: Fetch;
  timeoutMilliseconds?: number;
  /** Called for each 401, before the failure is thrown. */
  onUnauthorized?: () => void;
}

export interface PageQuery {
  org_id?: string | undefined;
  instance_id?: string | undefined;
  cursor?: string | undefined;
  limit?: number | undefined;
}

interface Call {
  query?: object | undefined;
  body?: object | undefined;
  signal?: AbortSignal | undefined;
}

type Signal = AbortSignal | undefined;

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const textOr = (value: unknown, fallback: string): string =>
  typeof value === 'string' && value !== '' ? value : fallback;

function addressOf(baseUrl: string, path: string, query: object | undefined): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== '') {
      parameters.set(name, String(value));
    }
  }
  const text = parameters.toString();
  return `${baseUrl.replace(/\/+$/, '')}${path}${text === '' ? '' : `?${text}`}`;
}

async function readAnswer(response: Response): Promise<Record<string, unknown>> {
  const requestId = response.headers.get('X-Request-ID');
  const body: unknown = await response.json().catch(() => null);
  if (!isRecord(body)) {
    throw new ApiFailure('unexpected', `The answer (status ${response.status}) is not JSON.`, {
      status: response.status,
      requestId,
    });
  }
  if (response.ok) {
    return body;
  }
  throw new ApiFailure('refused', textOr(body.error, `The status is ${response.status}.`), {
    status: response.status,
    code: textOr(body.code, 'UNKNOWN'),
    requestId: textOr(body.request_id, requestId ?? '') || null,
  });
}

export class ApiClient {
  readonly #options: Required<Omit<ClientOptions, 'onUnauthorized'>> &
    Pick<ClientOptions, 'onUnauthorized'>;

  constructor(options: ClientOptions) {
    this.#options = {
      // Not `fetch` itself: called as a method of the options it would lose its `this`.
      fetch: (input, init) => fetch(input, init),
      timeoutMilliseconds: TIMEOUT_MILLISECONDS,
      ...options,
    };
  }

  me = (signal?: Signal) => this.#call<Me>('GET', '/me', { signal });

  organizations = (query: PageQuery = {}, signal?: Signal) =>
    this.#call<Page<Organization>>('GET', '/organization', { query, signal });

  instances = (query: PageQuery = {}, signal?: Signal) =>
    this.#call<Page<Instance>>('GET', '/instance', { query, signal });
  instance = (id: string, signal?: Signal) =>
    this.#call<Instance>('GET', `/instance/${encodeURIComponent(id)}`, { signal });
  createInstance = (body: NewInstance) => this.#call<Instance>('POST', '/instance', { body });
  changeInstance = (id: string, body: InstanceChange) =>
    this.#call<Instance>('PATCH', `/instance/${encodeURIComponent(id)}`, { body });
  deleteInstance = (id: string) =>
    this.#call<object>('DELETE', `/instance/${encodeURIComponent(id)}`);

  accessList = (instanceId: string, query: PageQuery = {}, signal?: Signal) =>
    this.#call<Page<Access>>('GET', `/instance/${encodeURIComponent(instanceId)}/access`, {
      query,
      signal,
    });
  giveAccess = (instanceId: string, userId: string) =>
    this.#call<Access>('PUT', this.#accessPath(instanceId, userId));
  withdrawAccess = (instanceId: string, userId: string) =>
    this.#call<object>('DELETE', this.#accessPath(instanceId, userId));

  users = (query: PageQuery = {}, signal?: Signal) =>
    this.#call<Page<User>>('GET', '/user', { query, signal });
  user = (id: string, signal?: Signal) =>
    this.#call<User>('GET', `/user/${encodeURIComponent(id)}`, { signal });
  createUser = (body: NewUser) => this.#call<User>('POST', '/user', { body });
  changeUser = (id: string, body: UserChange) =>
    this.#call<User>('PATCH', `/user/${encodeURIComponent(id)}`, { body });
  deleteUser = (id: string) => this.#call<object>('DELETE', `/user/${encodeURIComponent(id)}`);

  userKeys = (userId: string, query: PageQuery = {}, signal?: Signal) =>
    this.#call<Page<ApiKey>>('GET', `/user/${encodeURIComponent(userId)}/key`, { query, signal });
  createUserKey = (userId: string, body: NewApiKey) =>
    this.#call<CreatedApiKey>('POST', `/user/${encodeURIComponent(userId)}/key`, { body });
  revokeKey = (keyId: string) => this.#call<ApiKey>('DELETE', `/key/${encodeURIComponent(keyId)}`);

  projects = (query: PageQuery = {}, signal?: Signal) =>
    this.#call<Page<Project>>('GET', '/project', { query, signal });

  logs = (query: LogQuery = {}, signal?: Signal) =>
    this.#call<Page<LogEntry>>('GET', '/logs', { query, signal });
  metrics = (query: { range: MetricRange; instance_id?: string }, signal?: Signal) =>
    this.#call<Metrics>('GET', '/metrics', { query, signal });

  /** All pages of a list, for selections and counts. */
  async all<Item>(list: (query: PageQuery) => Promise<Page<Item>>): Promise<Item[]> {
    const items: Item[] = [];
    let cursor: string | undefined;
    for (let pageCount = 0; pageCount < PAGES_MAX; pageCount += 1) {
      const page = await list({ limit: PAGE_LIMIT, cursor });
      items.push(...page.items);
      if (page.next_cursor === null) {
        break;
      }
      cursor = page.next_cursor;
    }
    return items;
  }

  #accessPath(instanceId: string, userId: string): string {
    return `/instance/${encodeURIComponent(instanceId)}/access/${encodeURIComponent(userId)}`;
  }

  async #call<Answer>(
    method: string,
    path: string,
    { query, body, signal }: Call = {},
  ): Promise<Answer> {
    const { baseUrl, key, timeoutMilliseconds } = this.#options;
    const controller = new AbortController();
    const abort = () => controller.abort();
    signal?.addEventListener('abort', abort);
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      abort();
    }, timeoutMilliseconds);
    try {
      const headers: Record<string, string> = { Authorization: `Bearer ${key}` };
      if (body !== undefined) {
        headers['Content-Type'] = 'application/json';
      }
      const response = await this.#options.fetch(addressOf(baseUrl, path, query), {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        signal: controller.signal,
      });
      // The one place where an answer gets its type: the contract vouches for its form.
      return (await readAnswer(response)) as Answer;
    } catch (error) {
      throw this.#failureOf(error, { timedOut, aborted: signal?.aborted === true });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  #failureOf(error: unknown, { timedOut, aborted }: { timedOut: boolean; aborted: boolean }) {
    if (error instanceof ApiFailure) {
      if (error.status === 401) {
        this.#options.onUnauthorized?.();
      }
      return error;
    }
    if (aborted) {
      return error;
    }
    if (timedOut) {
      const seconds = Math.round(this.#options.timeoutMilliseconds / 1000);
      return new ApiFailure('timeout', `No answer within ${seconds} seconds. Try again.`);
    }
    return new ApiFailure(
      'unreachable',
      `No connection to ${this.#options.baseUrl}. Check the network, and that the service allows this page's origin.`,
    );
  }
}
