// Both Workers as they are deployed, each bundled into one module, on a runtime of their own with its storage on disk; the
// mock Ideogram is all that they can reach outside. The runtime is killed in the middle, without a warning.
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Miniflare, type Request as RuntimeRequest, Response as RuntimeResponse } from 'miniflare';
import { build } from 'vite';
import { afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { firstKeyStatement } from '@/infrastructure/auth/bootstrap';
import { generateApiKey } from '@/infrastructure/auth/key-manager';
import { MOCK_API_KEY, MockIdeogram } from '@/tests/provider-adapters/mock-ideogram';
import type { LogBuffer } from '@/workers/shared/logging/log-buffer';

const root = fileURLToPath(new URL('../..', import.meta.url));
const databaseFolder = join(root, 'infrastructure/database');
const SEED_ADMIN = '3f0c8a52-6a0e-4d0b-9a52-0d6f3c1f7a01';
const SECRETS = {
  SERVICE_TOKEN: 'service-token-of-the-runtime-0123456789',
  CACHE_ENCRYPTION_KEY: 'AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=',
  PROVIDER_KEY_ENCRYPTION_KEYS: 'k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=',
};

interface Answer {
  status: number;
  body: Record<string, unknown>;
}

/** A Worker as one module. */
async function bundle(entry: string): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: 'silent',
    resolve: { alias: { '@/': root } },
    build: {
      write: false,
      minify: false,
      target: 'esnext',
      lib: { entry: join(root, entry), formats: ['es'] },
      rollupOptions: { external: ['cloudflare:workers'] },
    },
  });
  const [output] = Array.isArray(result) ? result : [result];
  const code = output !== undefined && 'output' in output ? output.output[0].code : undefined;
  return code ?? expect.unreachable('nothing was built');
}

let scripts: { configService: string; imageGen: string };
let directory: string;
let pidFile: string;
let runtimes: Miniflare[];
let mock: MockIdeogram;
let key: string;

beforeAll(async () => {
  const [configService, imageGen] = await Promise.all([
    bundle('infrastructure/config-service/index.ts'),
    bundle('workers/image-gen/index.ts'),
  ]);
  scripts = { configService, imageGen };
}, 60_000);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'workers-'));
  pidFile = join(directory, 'pid');
  runtimes = [];
  mock = new MockIdeogram({ pendingPolls: { min: 0, max: 0 } });
  // In front of the runtime: a script that leaves its process id, which the runtime then takes over.
  const nearMiniflare = createRequire(createRequire(import.meta.url).resolve('miniflare'));
  const { default: runtime }: { default: string } = nearMiniflare('workerd');
  const wrapper = join(directory, 'runtime.sh');
  writeFileSync(wrapper, `#!/bin/sh\necho $$ > '${pidFile}'\nexec '${runtime}' "$@"\n`);
  chmodSync(wrapper, 0o755);
  vi.stubEnv('MINIFLARE_WORKERD_PATH', wrapper);
});

afterEach(async () => {
  await Promise.all(runtimes.map((runtime) => runtime.dispose()));
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true });
});

/** What the Workers reach outside: the provider, and nothing else. */
async function outside(request: RuntimeRequest): Promise<RuntimeResponse> {
  const headers = [...request.headers].filter(([name]) => !/^(host|cf-|mf-)/i.test(name));
  const body = request.method === 'POST' ? await request.arrayBuffer() : null;
  const response = await mock.fetch(
    new Request(request.url, { method: request.method, headers, body }),
  );
  return new RuntimeResponse(await response.arrayBuffer(), {
    status: response.status,
    headers: [...response.headers],
  });
}

async function start(variables: Record<string, string> = {}): Promise<Miniflare> {
  const shared = {
    modules: true,
    compatibilityDate: '2026-04-01',
    bindings: { ...SECRETS, ...variables },
    d1Databases: { DB: 'multiagent' },
    kvNamespaces: { CONFIG_CACHE: 'configurations' },
  };
  const runtime = new Miniflare({
    host: '127.0.0.1',
    d1Persist: join(directory, 'd1'),
    kvPersist: join(directory, 'kv'),
    r2Persist: join(directory, 'r2'),
    durableObjectsPersist: join(directory, 'objects'),
    workers: [
      {
        ...shared,
        name: 'image-gen',
        script: scripts.imageGen,
        r2Buckets: ['IMAGES'],
        serviceBindings: { CONFIG_SERVICE: 'config-service' },
        durableObjects: {
          RATE_LIMITER: { className: 'RateLimiter', useSQLite: true },
          CIRCUIT_BREAKER: { className: 'CircuitBreaker', useSQLite: true },
          LOG_BUFFER: { className: 'LogBuffer', useSQLite: true },
          JOBS: { className: 'GenerationJob', useSQLite: true },
        },
        outboundService: outside,
      },
      { ...shared, name: 'config-service', script: scripts.configService },
    ],
  });
  runtimes.push(runtime);
  await runtime.ready;
  return runtime;
}

/** Ends the runtime as a power cut does, and starts it again on what is on the disk. */
async function crash(): Promise<Miniflare> {
  process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
  return await start();
}

function statementsOf(script: string): string[] {
  return script
    .replaceAll(/--.*$/gm, '')
    .split(';')
    .filter((statement) => statement.trim() !== '');
}

/** Migrations, seed data, and a key for the seed's superadmin. */
async function fill(runtime: Miniflare): Promise<void> {
  const migrations = join(databaseFolder, 'migrations');
  const generated = await generateApiKey();
  key = generated.key;
  const texts = [
    ...readdirSync(migrations)
      .toSorted()
      .map((name) => readFileSync(join(migrations, name), 'utf8')),
    readFileSync(join(databaseFolder, 'seed.sql'), 'utf8'),
    firstKeyStatement({ keyId: 'first', userId: SEED_ADMIN, createdAt: new Date(), generated }),
  ];
  const database = await runtime.getD1Database('DB', 'image-gen');
  for (const text of texts) {
    await database.batch(statementsOf(text).map((statement) => database.prepare(statement)));
  }
}

async function call(
  runtime: Miniflare,
  worker: 'image-gen' | 'config-service',
  method: string,
  path: string,
  body?: object,
): Promise<Answer> {
  const { fetch } = await runtime.getWorker(worker);
  const response = await fetch(`http://127.0.0.1${path}`, {
    method,
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Answer['body'] };
}

const generate = (runtime: Miniflare, body: object = {}) =>
  call(runtime, 'image-gen', 'POST', '/generate', {
    prompt: 'a lighthouse at dusk',
    instance_id: 'production',
    model: 'ideogram-v2',
    ...body,
  });

async function configure(runtime: Miniflare, rpm: number): Promise<void> {
  const { status } = await call(runtime, 'config-service', 'PATCH', '/instance/production', {
    config: { api_keys: { ideogram: MOCK_API_KEY }, rate_limits: { ideogram: { rpm } } },
  });
  expect(status).toBe(200);
}

async function rows(runtime: Miniflare, sql: string): Promise<Record<string, unknown>[]> {
  const database = await runtime.getD1Database('DB', 'image-gen');
  return (await database.prepare(sql).all<Record<string, unknown>>()).results;
}

/** No answer waits for its log line: what the log has accepted is known from the log, which answers one message after another. */
async function logAccepted(runtime: Miniflare): Promise<void> {
  const buffers = await runtime.getDurableObjectNamespace('LOG_BUFFER', 'image-gen');
  const buffer = buffers.get(buffers.idFromName('instance:production'));
  await (buffer as unknown as Pick<LogBuffer, 'append'>).append([]);
}

test('killed with -9, it loses no image, no usage, no answer to a request id, no key and no log line that was accepted', async () => {
  const request_id = crypto.randomUUID();
  const first = await start();
  await fill(first);
  await configure(first, 1000);
  const answer = await generate(first, { request_id });
  expect(answer.status).toBe(200);
  const { r2_path } = answer.body;
  await logAccepted(first);

  const second = await crash();
  const { fetch } = await second.getWorker('image-gen');
  const image = await fetch(`http://127.0.0.1/images/${r2_path}`);
  expect([image.status, image.headers.get('Content-Type')]).toEqual([200, 'image/png']);
  expect((await image.arrayBuffer()).byteLength).toBeGreaterThan(100);
  expect(await rows(second, 'SELECT request_id, instance_id FROM usage_logs')).toEqual([
    { request_id, instance_id: 'production' },
  ]);
  // With these, a batch of the log is full: nobody has to wait for the ten seconds.
  const again = await Promise.all(
    Array.from({ length: 99 }, () => generate(second, { request_id })),
  );
  for (const { status, body } of again) {
    expect([status, body]).toEqual([200, answer.body]);
  }
  expect(mock.requestsOf('submit')).toHaveLength(1);
  const logged = await vi.waitFor(
    async () => {
      const entries = await rows(second, 'SELECT metadata FROM logs');
      expect(entries).toHaveLength(100);
      return entries.map(({ metadata }) => JSON.parse(String(metadata)));
    },
    { timeout: 20_000 },
  );
  expect(logged.filter(({ replayed }) => replayed !== true)).toMatchObject([{ status: 200 }]);
  expect(await rows(second, 'SELECT log_id FROM usage_logs')).toHaveLength(1);
}, 60_000);

test('of 50 requests at once against a limit of 10 exactly 10 are admitted, also across a crash', async () => {
  const first = await start();
  await fill(first);
  await configure(first, 10);
  const burst = async (runtime: Miniflare, size: number) => {
    const answers = await Promise.all(Array.from({ length: size }, () => generate(runtime)));
    return answers.filter(({ status }) => status === 200).length;
  };
  expect(await burst(first, 4)).toBe(4);
  const second = await crash();
  expect(await burst(second, 50)).toBe(6);
  expect(mock.requestsOf('submit')).toHaveLength(10);
  expect(await rows(second, 'SELECT log_id FROM usage_logs')).toHaveLength(10);
}, 60_000);

test('a job that has outlived its request is known after a crash, and finished', async () => {
  // Long enough for the submission on a machine that has much to do: only the polls are to outlive it.
  const first = await start({ GENERATION_TIMEOUT_MS: '3000' });
  await fill(first);
  await configure(first, 1000);
  mock.next('submit', { kind: 'pending', polls: 'endless' });
  const answer = await generate(first, { model: 'ideogram-4-5' });
  expect([answer.status, answer.body.code]).toEqual([504, 'PROVIDER_TIMEOUT']);
  for (const generation of mock.generations.values()) {
    generation.pendingPolls = 0;
  }

  const second = await crash();
  const job = await call(second, 'image-gen', 'GET', String(answer.body.status_url));
  expect(job.body).toMatchObject({ status: 'completed', success: true });
  expect(await rows(second, 'SELECT request_id FROM usage_logs')).toEqual([
    { request_id: answer.body.request_id },
  ]);
}, 60_000);
