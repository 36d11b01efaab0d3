// The Config Service as the contract describes it, in memory: what the panel's tests talk to, on 127.0.0.1 by its address.
import type {
  ApiKey,
  Instance,
  LogEntry,
  Project,
  User,
} from '@/interfaces/admin-panel/src/api/types';
import {
  FAKE_ORIGIN,
  instanceOf,
  KEYS,
  NEW_KEY,
  NOW,
  organizationOf,
  REQUEST_ID,
  userOf,
} from './fixtures';

export interface SentRequest {
  method: string;
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  body: Record<string, unknown> | undefined;
}

interface FakeAnswer {
  status: number;
  body: unknown;
}

type Body = Record<string, unknown>;
type Traffic = readonly [requests: number, errors: number, limited: number];
type Interception = (request: SentRequest) => FakeAnswer | 'unreachable' | undefined;

const NO_TRAFFIC: Traffic = [0, 0, 0];

function maskOf(key: string): string {
  return key.length < 16 ? '****' : `****${key.slice(-4)}`;
}

export class FakeApi {
  organizations = [organizationOf('example-org', 'Example Organisation')];
  instances = [
    instanceOf('production', 'Production', {
      api_keys: { ideogram: '****a1b2' },
      rate_limits: { ideogram: { rpm: 500, tpm: 100000 } },
      worker_urls: { 'image-gen': 'https://image-gen-production.example.workers.dev' },
      r2_bucket: 'production-images',
    }),
    instanceOf('development', 'Development', {
      rate_limits: { ideogram: { rpm: 10 } },
      authorized_users: ['developer'],
    }),
  ];
  users = [
    userOf('root', 'root@example.com', 'superadmin'),
    userOf('admin', 'admin@example.com', 'admin'),
    userOf('developer', 'developer@example.com', 'user', { instances: ['development'] }),
  ];
  projects: Project[] = [
    { project_id: 'content-forge', instance_id: 'production', name: 'Content Forge' },
  ];
  keys: ApiKey[] = [];
  logs: LogEntry[] = [];
  /** Requests, errors and refused ones of the last bucket, by instance. */
  traffic: Record<string, Traffic> = {};
  pageSize = 50;
  /** Answers before anything else does: failures of all kinds. */
  intercept: Interception = () => undefined;
  readonly requests: SentRequest[] = [];
  #counter = 0;

  /** Stands in for the browser's `fetch`, for the service and for `config.json`. */
  readonly fetch = (input: string, init: RequestInit): Promise<Response> => {
    if (input === '/config.json') {
      return Promise.resolve(Response.json({ config_service_url: FAKE_ORIGIN }));
    }
    const url = new URL(input);
    const request: SentRequest = {
      method: init.method ?? 'GET',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: Object.fromEntries(
        Object.entries(init.headers ?? {}).map(([name, value]) => [
          name.toLowerCase(),
          String(value),
        ]),
      ),
      body: typeof init.body === 'string' ? (JSON.parse(init.body) as Body) : undefined,
    };
    this.requests.push(request);
    const answer = this.intercept(request) ?? this.answer(request);
    if (answer === 'unreachable') {
      return Promise.reject(new TypeError('Failed to fetch'));
    }
    return Promise.resolve(
      new Response(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body), {
        status: answer.status,
        headers: { 'Content-Type': 'application/json', 'X-Request-ID': REQUEST_ID },
      }),
    );
  };

  answer(request: SentRequest): FakeAnswer {
    const { authorization } = request.headers;
    const role = (['superadmin', 'admin', 'user'] as const).find(
      (each) => authorization === `Bearer ${KEYS[each]}`,
    );
    if (role === undefined) {
      return refusal(401, 'AUTH_FAILED', 'this API key is not valid');
    }
    const caller = this.users.find((user) => user.role === role);
    if (caller === undefined) {
      return refusal(401, 'AUTH_FAILED', 'this API key is not valid');
    }
    if (request.path === '/me') {
      const { user_id, email, org_id, instances } = caller;
      const key_id = `key-of-${role}`;
      const permissions: string[] = [];
      return ok({ user_id, email, role, org_id, project_id: null, instances, permissions, key_id });
    }
    if (role === 'user') {
      return refusal(403, 'FORBIDDEN', 'your role does not allow this');
    }
    const [resource = '', id = '', sub = '', subId = ''] = request.path.slice(1).split('/');
    switch (resource) {
      case 'organization':
        return this.#list(this.organizations, request);
      case 'instance':
        return sub === 'access' ? this.#access(request, id, subId) : this.#instance(request, id);
      case 'user':
        return sub === 'key' ? this.#userKeys(request, id) : this.#user(request, id);
      case 'project':
        return this.#list(
          this.projects.filter(({ instance_id }) => instance_id === request.query.instance_id),
          request,
        );
      case 'key':
        return this.#revoke(id);
      case 'logs':
        return this.#list(this.logs.filter(logFilter(request.query)), request);
      case 'metrics':
        return this.#metrics(request.query);
      default:
        return refusal(404, 'NOT_FOUND', 'there is no such path');
    }
  }

  #list(items: readonly unknown[], { query }: SentRequest): FakeAnswer {
    const start = Number(query.cursor ?? 0);
    const end = start + Math.min(this.pageSize, Number(query.limit ?? 50));
    return ok({
      items: items.slice(start, end),
      next_cursor: end < items.length ? String(end) : null,
    });
  }

  #instance(request: SentRequest, id: string): FakeAnswer {
    const { method, body = {}, query } = request;
    if (id === '' && method === 'GET') {
      const { org_id } = query;
      return this.#list(
        this.instances.filter((instance) => org_id === undefined || instance.org_id === org_id),
        request,
      );
    }
    if (id === '') {
      const instance_id = String(body.instance_id ?? this.#newId('instance'));
      if (this.instances.some((instance) => instance.instance_id === instance_id)) {
        return refusal(409, 'CONFLICT', `the id ${instance_id} is taken`);
      }
      const created = instanceOf(instance_id, String(body.name), { org_id: String(body.org_id) });
      this.instances.push(withConfig(created, body.config));
      return this.#found(this.instances.at(-1), 201);
    }
    const index = this.instances.findIndex(({ instance_id }) => instance_id === id);
    const instance = this.instances[index];
    if (instance === undefined) {
      return refusal(404, 'NOT_FOUND', `there is no instance ${id}`);
    }
    if (method === 'PATCH') {
      const name = String(body.name ?? instance.name);
      this.instances[index] = withConfig(
        { ...instance, name, updated_at: this.#later() },
        body.config,
      );
    } else if (method === 'DELETE') {
      this.instances.splice(index, 1);
      return ok({ deleted: true, instance_id: id });
    }
    return this.#found(this.instances[index]);
  }

  #access(request: SentRequest, instanceId: string, userId: string): FakeAnswer {
    const user = this.users.find(({ user_id }) => user_id === userId);
    if (request.method === 'GET') {
      const given = this.users.filter(({ instances }) => instances.includes(instanceId));
      return this.#list(
        given.map(({ user_id, email, role }) => ({
          ...{ instance_id: instanceId, user_id, email, role },
          ...{ granted_by: null, created_at: NOW },
        })),
        request,
      );
    }
    if (user === undefined) {
      return refusal(404, 'NOT_FOUND', `there is no user ${userId}`);
    }
    user.instances = user.instances.filter((id) => id !== instanceId);
    if (request.method === 'PUT') {
      user.instances = [...user.instances, instanceId].sort();
    }
    return ok({ instance_id: instanceId, user_id: userId });
  }

  #user(request: SentRequest, id: string): FakeAnswer {
    const { method, body = {}, query } = request;
    if (id === '' && method === 'GET') {
      const { org_id } = query;
      return this.#list(
        this.users.filter((user) => org_id === undefined || user.org_id === org_id),
        request,
      );
    }
    if (this.users.some(({ email, user_id }) => email === body.email && user_id !== id)) {
      return refusal(409, 'CONFLICT', 'this email is taken');
    }
    if (id === '') {
      const { email, org_id, role } = body as unknown as User;
      this.users.push(userOf(this.#newId('user'), email, role, { org_id }));
      return this.#found(this.users.at(-1), 201);
    }
    const index = this.users.findIndex(({ user_id }) => user_id === id);
    const user = this.users[index];
    if (user === undefined) {
      return refusal(404, 'NOT_FOUND', `there is no user ${id}`);
    }
    if (method === 'PATCH') {
      this.users[index] = { ...user, ...body, updated_at: this.#later() };
    } else if (method === 'DELETE') {
      this.users.splice(index, 1);
      return ok({ deleted: true, user_id: id });
    }
    return this.#found(this.users[index]);
  }

  #userKeys(request: SentRequest, userId: string): FakeAnswer {
    const { body = {}, method } = request;
    if (method === 'GET') {
      return this.#list(
        this.keys.filter(({ user_id }) => user_id === userId),
        request,
      );
    }
    const created: ApiKey = {
      key_id: this.#newId('key'),
      user_id: userId,
      project_id: null,
      name: String(body.name ?? ''),
      key_prefix: NEW_KEY.slice(0, 12),
      created_by: 'admin',
      created_at: NOW,
      last_used_at: null,
      expires_at: typeof body.expires_at === 'string' ? body.expires_at : null,
      revoked_at: null,
    };
    this.keys.push(created);
    return { status: 201, body: { ...created, key: NEW_KEY, request_id: REQUEST_ID } };
  }

  #revoke(keyId: string): FakeAnswer {
    const key = this.keys.find(({ key_id }) => key_id === keyId);
    if (key !== undefined) {
      key.revoked_at = NOW;
    }
    return this.#found(key);
  }

  #metrics({ range = 'hour', instance_id }: Record<string, string>): FakeAnswer {
    const bucketCount = { hour: 60, day: 96, week: 168 }[range] ?? 60;
    const last = (count: number) =>
      Array.from({ length: bucketCount }, (_, index) => (index === bucketCount - 1 ? count : 0));
    const shown = this.instances.filter(
      (instance) => instance_id === undefined || instance.instance_id === instance_id,
    );
    const counts = shown.map(({ instance_id: id }): Traffic => this.traffic[id] ?? NO_TRAFFIC);
    const total = (field: 0 | 1 | 2) => counts.reduce((sum, each) => sum + each[field], 0);
    const series = shown.map((instance, index) => {
      const [requests, errors, limited] = counts[index] ?? NO_TRAFFIC;
      return {
        instance_id: instance.instance_id,
        ...{ requests: last(requests), errors: last(errors), rate_limited: last(limited) },
        response_ms: last(0).map(() => null),
      };
    });
    const totals = {
      ...{ requests: total(0), errors: total(1), rate_limited: total(2) },
      error_rate: total(0) === 0 ? null : total(1) / total(0),
      response_ms: total(0) === 0 ? null : 812.5,
      cost_microdollars: total(0) * 80_000,
    };
    return ok({ range, from: NOW, to: NOW, bucket_seconds: 60, series, totals, providers: [] });
  }

  #found(resource: object | undefined, status = 200): FakeAnswer {
    return resource === undefined
      ? refusal(404, 'NOT_FOUND', 'there is no such resource')
      : { status, body: { ...resource, request_id: REQUEST_ID } };
  }

  #newId(kind: string): string {
    this.#counter += 1;
    return `new-${kind}-${this.#counter}`;
  }

  #later(): string {
    this.#counter += 1;
    return new Date(Date.parse(NOW) + this.#counter * 1000).toISOString();
  }
}

const ok = (body: object): FakeAnswer => ({
  status: 200,
  body: { ...body, request_id: REQUEST_ID },
});

export const refusal = (status: number, code: string, error: string): FakeAnswer => ({
  status,
  body: { error, code, request_id: REQUEST_ID },
});

function logFilter(query: Record<string, string>): (entry: LogEntry) => boolean {
  return (entry) =>
    (query.instance_id === undefined || entry.instance_id === query.instance_id) &&
    (query.level === undefined || query.level.split(',').includes(entry.level)) &&
    (query.request_id === undefined || entry.request_id === query.request_id) &&
    (query.search === undefined ||
      entry.message.toLowerCase().includes(query.search.toLowerCase()));
}

/** Merged as `PATCH` merges: null removes; a key equal to its mask stays. */
function withConfig(instance: Instance, config: unknown): Instance {
  const next = structuredClone(instance);
  const { api_keys, rate_limits, worker_urls, r2_bucket } = (config ?? {}) as Partial<
    Record<string, Record<string, never>>
  >;
  for (const [provider, key] of Object.entries<string | null>(api_keys ?? {})) {
    if (key === null) {
      delete next.api_keys[provider];
    } else if (key !== next.api_keys[provider]) {
      next.api_keys[provider] = maskOf(key);
    }
  }
  for (const [present, changes] of [
    [next.rate_limits, rate_limits],
    [next.worker_urls, worker_urls],
  ] as [Record<string, unknown>, Record<string, unknown> | undefined][]) {
    for (const [name, value] of Object.entries(changes ?? {})) {
      if (value === null) {
        delete present[name];
      } else {
        present[name] = value;
      }
    }
  }
  if (r2_bucket !== undefined) {
    next.r2_bucket = r2_bucket as unknown as string | null;
  }
  return next;
}
