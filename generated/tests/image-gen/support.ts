// The whole system on the real runtime: a Config Service, the image-generation Worker, and the mock Ideogram as the only
// thing outside. Each system has an instance of its own, so that no test finds the windows and circuits of another. The
// clock stands in a year to come, so that no alarm of a Durable Object goes off by itself.
import {
  createExecutionContext,
  runInDurableObject,
  waitOnExecutionContext,
} from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { vi } from 'vitest';
import { createKeyManager } from '@/infrastructure/auth/key-manager';
import { type ConfigServiceEnv, createConfigService } from '@/infrastructure/config-service/index';
import {
  type GeneratedKey,
  generateKey,
} from '@/infrastructure/config-service/security/credentials';
import {
  encryptProviderKey,
  type KeyRing,
  readKeyRing,
} from '@/infrastructure/config-service/security/provider-keys';
import type { KeyOwner } from '@/infrastructure/database/queries';
import { freshDatabase, SEED } from '@/tests/database/support';
import { MOCK_API_KEY, MockIdeogram } from '@/tests/provider-adapters/mock-ideogram';
import type { ImageGenEnv } from '@/workers/image-gen/env';
import { createImageGenWorker } from '@/workers/image-gen/index';
import type { IdentifiedLogEntry } from '@/workers/shared/logging/types';

export const START = Date.parse('2035-03-01T10:00:00.000Z');
export const ORIGIN = 'https://image-gen.example.com';
export const SERVICE_TOKEN = 'planted-service-token-0123456789abcdef';
export const CACHE_KEY = 'AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=';
const ENCRYPTION_KEYS = 'k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';
export const PROMPT = 'a lighthouse at dusk, planted-prompt';
export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export interface Answer {
  status: number;
  headers: Headers;
  body: Record<string, unknown>;
}

export interface CallOptions {
  /** Null sends none. Default: the key of the instance's user. */
  key?: string | null;
  headers?: Record<string, string>;
}

export interface SystemOptions {
  limits?: Record<string, { rpm: number; tpm?: number }>;
  providerKeys?: Record<string, string>;
  r2Bucket?: string | null;
  overrides?: Record<string, unknown>;
}

export interface TestSystem {
  instanceId: string;
  projectId: string;
  userId: string;
  /** Of a user that has access to the instance, of one that has not, and of the superadmin. */
  keys: { user: string; stranger: string; admin: string };
  mock: MockIdeogram;
  env: ImageGenEnv;
  configService: { isUp: boolean; calls: number };
  /** Pauses that were made, in milliseconds. */
  pauses: number[];
  fetch: (request: Request) => Promise<Response>;
  /** `fetch`, without waiting for what goes on after the answer: `settled` does that. */
  begin: (request: Request) => { response: Promise<Response>; settled: () => Promise<void> };
  /** Holds a call to a provider, the next one or a later one: `reached` resolves when it is made, `release` lets it go on. */
  holdProvider: (callsBefore?: number) => { reached: Promise<void>; release: () => void };
  generate: (body?: object, options?: CallOptions) => Promise<Answer>;
  get: (path: string, options?: CallOptions) => Promise<Answer>;
  manage: (method: string, path: string, body?: object) => Promise<Answer>;
  newKey: (owner: KeyOwner) => Promise<string>;
  /** Of the instance, and of no instance: what D1 has, and what waits in the buffers. */
  logs: () => Promise<IdentifiedLogEntry[]>;
  usage: () => Promise<Record<string, unknown>[]>;
  objects: () => Promise<string[]>;
  /** Ends the time of what is running, and says how much that was. */
  endTime: () => number;
}

export function elapse(milliseconds: number): void {
  vi.setSystemTime(Date.now() + milliseconds);
}

/** Something that a test waits for, and that somebody gives. */
export function signal(): { given: Promise<void>; give: () => void } {
  let give = (): void => undefined;
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return { given, give };
}

export async function answerOf(response: Response): Promise<Answer> {
  const isJson = response.headers.get('Content-Type')?.startsWith('application/json') ?? false;
  const bytes = await response.arrayBuffer();
  return {
    status: response.status,
    headers: response.headers,
    body: isJson ? JSON.parse(new TextDecoder().decode(bytes)) : {},
  };
}

export function generateRequest(
  body: object | string,
  { key = null, headers = {} }: CallOptions = {},
): Request {
  return new Request(`${ORIGIN}/generate`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(key === null ? {} : { Authorization: `Bearer ${key}` }),
      ...headers,
    },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

async function emptyStorage(): Promise<void> {
  for (const bucket of [env.IMAGES, env.IMAGES_PROD_IMAGES]) {
    const { objects } = await bucket.list();
    await Promise.all(objects.map(({ key }) => bucket.delete(key)));
  }
  const { keys } = await env.CONFIG_CACHE.list();
  await Promise.all(keys.map(({ name }) => env.CONFIG_CACHE.delete(name)));
}

/** The Config Service behind a service binding that can be cut. */
function startConfigService(state: TestSystem['configService']) {
  const service = createConfigService({ log: () => undefined });
  const serviceEnv: ConfigServiceEnv = {
    DB: env.DB,
    CONFIG_CACHE: env.CONFIG_CACHE,
    PROVIDER_KEY_ENCRYPTION_KEYS: ENCRYPTION_KEYS,
    SERVICE_TOKEN,
  };
  const call = async (request: Request): Promise<Response> => {
    const ctx = createExecutionContext();
    const response = await service.fetch(request, serviceEnv, ctx);
    await waitOnExecutionContext(ctx);
    return response;
  };
  return {
    call,
    binding: (request: Request): Promise<Response> => {
      state.calls += 1;
      return state.isUp ? call(request) : Promise.reject(new Error('connection refused'));
    },
  };
}

type LogRow = Omit<IdentifiedLogEntry, 'metadata'> & { metadata: string };

async function bufferedEntries(name: string): Promise<IdentifiedLogEntry[]> {
  const stub = env.LOG_BUFFER.get(env.LOG_BUFFER.idFromName(name));
  return await runInDurableObject(stub, (_, { storage }) =>
    storage.sql
      .exec<{ entry: string }>('SELECT entry FROM entries ORDER BY sequence')
      .toArray()
      .map(({ entry }): IdentifiedLogEntry => JSON.parse(entry)),
  );
}

const PEOPLE = { userId: 'designer', strangerId: 'stranger' } as const;
let keyRing: Promise<KeyRing> | null = null;
let knownKeys: Promise<GeneratedKey[]> | null = null;

/** The keys of the superadmin, the user and the stranger: the same for all tests, which saves making them. */
async function keysOfPeople(): Promise<GeneratedKey[]> {
  knownKeys ??= Promise.all([generateKey(), generateKey(), generateKey()]);
  return await knownKeys;
}

async function encrypted(instanceId: string, provider: string, key: string) {
  keyRing ??= readKeyRing(ENCRYPTION_KEYS);
  const ciphertext = await encryptProviderKey(await keyRing, { instanceId, provider }, key);
  return { ciphertext, mask: '****' };
}

/** An instance, a project in it, a user that may use it, and one that may not; each of them, and the superadmin, has a key. */
async function customer(
  instanceId: string,
  { providerKeys = { ideogram: MOCK_API_KEY }, limits, r2Bucket = null }: SystemOptions,
): Promise<D1PreparedStatement[]> {
  const now = new Date(START).toISOString();
  const apiKeys = Object.entries(providerKeys).map(async ([provider, key]) => [
    provider,
    await encrypted(instanceId, provider, key),
  ]);
  const config = {
    api_keys: Object.fromEntries(await Promise.all(apiKeys)),
    rate_limits: limits ?? { ideogram: { rpm: 100 } },
    worker_urls: {},
    r2_bucket: r2Bucket,
  };
  const owners = [SEED.adminId, PEOPLE.userId, PEOPLE.strangerId];
  const { DB } = env;
  return [
    DB.prepare(
      `INSERT INTO instances (instance_id, org_id, name, config, created_at, updated_at)
       VALUES (?, ?, 'Studio', ?, ?, ?)`,
    ).bind(instanceId, SEED.orgId, JSON.stringify(config), now, now),
    DB.prepare(
      `INSERT INTO projects (project_id, instance_id, name, created_at, updated_at)
       VALUES (?, ?, 'Posters', ?, ?)`,
    ).bind(`${instanceId}-posters`, instanceId, now, now),
    ...Object.values(PEOPLE).map((userId) =>
      DB.prepare(
        'INSERT INTO users (user_id, email, org_id, created_at, updated_at) VALUES (?, ?, ?, ?, ?)',
      ).bind(userId, `${userId}@example.com`, SEED.orgId, now, now),
    ),
    DB.prepare(
      'INSERT INTO user_instance_access (user_id, instance_id, created_at) VALUES (?, ?, ?)',
    ).bind(PEOPLE.userId, instanceId, now),
    ...(await keysOfPeople()).map(({ hash, prefix }, index) =>
      DB.prepare(
        `INSERT INTO api_keys (key_id, user_id, key_hash, key_prefix, created_at)
         VALUES (?, ?, ?, ?, ?)`,
      ).bind(`key-${index}`, owners[index] ?? null, hash, prefix, now),
    ),
  ];
}

/** To be used with `vi.useFakeTimers({ toFake: ['Date'] })`. */
export async function startSystem(options: SystemOptions = {}): Promise<TestSystem> {
  const instanceId = `studio-${crypto.randomUUID().slice(0, 8)}`;
  const fixtures = [env.DB.prepare('DELETE FROM logs'), ...(await customer(instanceId, options))];
  await Promise.all([freshDatabase(fixtures), emptyStorage()]);
  const [admin = '', user = '', stranger = ''] = (await keysOfPeople()).map(({ key }) => key);
  const loggedBefore = new Set((await bufferedEntries('common')).map(({ log_id }) => log_id));
  const keyManager = createKeyManager({ database: env.DB });
  const newKey = async (owner: KeyOwner) => (await keyManager.issue(owner)).key;

  const configService = { isUp: true, calls: 0 };
  const service = startConfigService(configService);
  const manage = async (method: string, path: string, body?: object): Promise<Answer> =>
    await answerOf(
      await service.call(
        new Request(`https://config.example.com${path}`, {
          method,
          headers: { Authorization: `Bearer ${admin}`, 'Content-Type': 'application/json' },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        }),
      ),
    );

  const pauses: number[] = [];
  const timers: (() => void)[] = [];
  let held: (() => Promise<void>) | null = null;
  const mock = new MockIdeogram({
    wait: (milliseconds) => {
      elapse(milliseconds);
      return Promise.resolve();
    },
  });
  const worker = createImageGenWorker({
    fetch: async (request) => {
      await held?.();
      return await mock.fetch(request);
    },
    random: () => 0.5,
    pause: (milliseconds) => {
      pauses.push(milliseconds);
      elapse(milliseconds);
      return Promise.resolve();
    },
    timer: () => new Promise<void>((resolve) => timers.push(resolve)),
  });
  const fetchAndWait = async (request: Request): Promise<Response> => {
    const ctx = createExecutionContext();
    const response = await worker.fetch(request, system.env, ctx);
    await waitOnExecutionContext(ctx);
    return response;
  };
  const system: TestSystem = {
    instanceId,
    projectId: `${instanceId}-posters`,
    userId: PEOPLE.userId,
    keys: { user, stranger, admin },
    mock,
    // The types of the tests' bindings do not know the classes of their Durable Objects.
    env: {
      ...env,
      CONFIG_SERVICE: { fetch: service.binding },
      SERVICE_TOKEN,
      CACHE_ENCRYPTION_KEY: CACHE_KEY,
      ...options.overrides,
    } as unknown as ImageGenEnv,
    configService,
    pauses,
    fetch: fetchAndWait,
    begin(request) {
      const ctx = createExecutionContext();
      const response = worker.fetch(request, system.env, ctx);
      return { response, settled: () => waitOnExecutionContext(ctx) };
    },
    holdProvider(callsBefore = 0) {
      const reached = signal();
      const released = signal();
      let left = callsBefore;
      held = async () => {
        if (left > 0) {
          left -= 1;
          return;
        }
        held = null;
        reached.give();
        await released.given;
      };
      return { reached: reached.given, release: released.give };
    },
    manage,
    newKey,
    async generate(body = {}, { key = system.keys.user, headers = {} } = {}) {
      const whole = { prompt: PROMPT, instance_id: instanceId, ...body };
      return await answerOf(await fetchAndWait(generateRequest(whole, { key, headers })));
    },
    async get(path, { key = system.keys.user, headers = {} } = {}) {
      const authorization: Record<string, string> =
        key === null ? {} : { Authorization: `Bearer ${key}` };
      const request = new Request(ORIGIN + path, { headers: { ...authorization, ...headers } });
      return await answerOf(await fetchAndWait(request));
    },
    async logs() {
      const { results } = await env.DB.prepare('SELECT * FROM logs').all<LogRow>();
      return [
        ...results.map((row) => ({ ...row, metadata: JSON.parse(row.metadata) })),
        ...(await bufferedEntries(`instance:${instanceId}`)),
        ...(await bufferedEntries('common')),
      ]
        .filter(({ log_id, instance_id }) =>
          instance_id ? instance_id === instanceId : !loggedBefore.has(log_id),
        )
        .toSorted((left, right) => (left.log_id < right.log_id ? -1 : 1));
    },
    async usage() {
      return (await env.DB.prepare('SELECT * FROM usage_logs').all()).results;
    },
    async objects() {
      const lists = await Promise.all([env.IMAGES.list(), env.IMAGES_PROD_IMAGES.list()]);
      return lists.flatMap(({ objects }) => objects.map(({ key }) => key));
    },
    endTime() {
      const running = timers.splice(0);
      for (const end of running) {
        end();
      }
      return running.length;
    },
  };
  return system;
}
