// What one request costs of D1, KV, R2 and Durable Objects: counted at the bindings, so that nothing is added unseen.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { START, startSystem, type TestSystem } from './support';

let system: TestSystem;
let operations: string[];

function watch<Target extends object>(
  target: Target,
  replace: (name: string, method: (...parameters: unknown[]) => unknown) => unknown,
): Target {
  return new Proxy(target, {
    get(object, property) {
      const own: unknown = Reflect.get(object, property);
      return typeof own === 'function' ? replace(String(property), own.bind(object)) : own;
    },
  });
}

/** A binding whose calls of these methods are counted under this name. */
function counted<Target extends object>(name: string, target: Target, methods: string[]): Target {
  return watch(target, (method, call) => (...parameters: unknown[]) => {
    if (methods.includes(method)) {
      operations.push(`${name} ${method}`);
    }
    return call(...parameters);
  });
}

/** D1, of which each statement that is sent is counted by its first word and its table. */
function countedDatabase(database: D1Database): D1Database {
  return watch(database, (method, call) => (...parameters: unknown[]) => {
    if (method !== 'prepare') {
      operations.push(`D1 ${method}`);
      return call(...parameters);
    }
    const words = String(parameters[0]).trim().split(/\s+/);
    const verb = words[0] ?? '';
    const table = words.find((word) => ['api_keys', 'usage_logs', 'projects'].includes(word)) ?? '';
    operations.push(`D1 ${verb.toLowerCase()} ${table}`);
    return call(...parameters);
  });
}

/** Durable Objects, of which each message is counted. */
function countedObjects<Namespace extends object>(name: string, namespace: Namespace): Namespace {
  return watch(namespace, (method, call) => (...parameters: unknown[]) => {
    const result = call(...parameters);
    if (method !== 'get') {
      return result;
    }
    return new Proxy(result as object, {
      get: (stub, property) => {
        const message: unknown = Reflect.get(stub, property);
        return typeof message !== 'function'
          ? message
          : (...sent: unknown[]) => {
              operations.push(`${name} ${String(property)}`);
              // Not `message.apply`: on a stub, that would be the message `apply`.
              return Reflect.apply(message, stub, sent);
            };
      },
    });
  });
}

function count(): void {
  const { env } = system;
  system.env = {
    ...env,
    DB: countedDatabase(env.DB),
    CONFIG_CACHE: counted('KV', env.CONFIG_CACHE, ['get', 'put', 'delete', 'list']),
    IMAGES: counted('R2', env.IMAGES, ['put', 'get', 'head', 'delete', 'list']),
    RATE_LIMITER: countedObjects('limiter', env.RATE_LIMITER),
    CIRCUIT_BREAKER: countedObjects('breaker', env.CIRCUIT_BREAKER),
    LOG_BUFFER: countedObjects('log', env.LOG_BUFFER),
    JOBS: countedObjects('job', env.JOBS),
  };
  // Only the bucket that counts.
  Reflect.deleteProperty(system.env, 'IMAGES_PROD_IMAGES');
}

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(START);
  operations = [];
  system = await startSystem();
  // Everything is warm: the configuration is cached, the key's last use noted.
  await system.generate({ model: 'ideogram-v2' });
  count();
});

afterEach(() => {
  vi.useRealTimers();
});

const GENERATION = [
  'D1 select api_keys',
  'KV get',
  'limiter checkLimit',
  'breaker ask',
  'R2 put',
  'D1 insert usage_logs',
  'log append',
];

describe('POST /generate', () => {
  test('costs seven operations: 2 D1, 1 KV, 1 R2, 3 messages to Durable Objects', async () => {
    await system.generate({ model: 'ideogram-v2' });
    expect(operations).toEqual(GENERATION);
  });

  test('costs one question more to the breaker for each look at a job', async () => {
    system.mock.next('submit', { kind: 'pending', polls: 2 });
    await system.generate();
    const looks = ['breaker ask', 'breaker ask', 'breaker ask'];
    expect(operations.toSorted()).toEqual([...GENERATION, ...looks].toSorted());
  });

  test('costs one question more to the breaker for each further attempt, and its report', async () => {
    system.mock.next('submit', { kind: 'status', status: 500 });
    await system.generate({ model: 'ideogram-v2' });
    expect(operations.filter((operation) => operation.startsWith('breaker'))).toEqual([
      'breaker ask',
      'breaker tell',
      'breaker ask',
      'breaker tell',
    ]);
  });

  test('costs one D1 query more if it names a project', async () => {
    await system.generate({ model: 'ideogram-v2', project_id: system.projectId });
    expect(operations.toSorted()).toEqual([...GENERATION, 'D1 select projects'].toSorted());
  });

  test('costs two messages more with a request_id, and four operations in all when it is repeated', async () => {
    const request_id = crypto.randomUUID();
    await system.generate({ model: 'ideogram-v2', request_id });
    const messages = ['job claim', 'job complete'];
    expect(operations.toSorted()).toEqual([...GENERATION, ...messages].toSorted());
    operations = [];
    await system.generate({ model: 'ideogram-v2', request_id });
    expect(operations).toEqual(['D1 select api_keys', 'KV get', 'job claim', 'log append']);
  });

  test('costs one message more if the job of its request_id is noted', async () => {
    system.mock.next('submit', { kind: 'pending', polls: 0 });
    await system.generate({ request_id: crypto.randomUUID() });
    const messages = ['job claim', 'breaker ask', 'job noteProviderJob', 'job complete'];
    expect(operations.toSorted()).toEqual([...GENERATION, ...messages].toSorted());
  });

  test('costs one message, to the log, if its body is refused', async () => {
    await system.generate({ prompt: '' });
    expect(operations).toEqual(['log append']);
  });

  test('costs four operations if it is over the limit', async () => {
    await system.manage('PATCH', `/instance/${system.instanceId}`, {
      config: { rate_limits: { ideogram: { rpm: 1 } } },
    });
    await system.generate();
    operations = [];
    expect((await system.generate()).status).toBe(429);
    expect(operations).toEqual(GENERATION.slice(0, 3).concat('log append'));
  });
});

describe('GET', () => {
  test('/images costs one read of R2, without a look at the database', async () => {
    const { body } = await system.generate({ model: 'ideogram-v2' });
    operations = [];
    await system.get(`/images/${body.r2_path}`);
    expect(operations).toEqual(['R2 get']);
  });

  test('/jobs of a completed job costs one query, one message and one look at the cache', async () => {
    system.mock.next('submit', { kind: 'pending', polls: 'endless' });
    const { body } = await system.generate();
    for (const generation of system.mock.generations.values()) {
      generation.pendingPolls = 0;
    }
    await system.get(String(body.status_url));
    operations = [];
    await system.get(String(body.status_url));
    expect(operations).toEqual(['D1 select api_keys', 'job read', 'KV get']);
  });
});
