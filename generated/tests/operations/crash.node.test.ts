// The runtime is killed in the middle of its work, without a warning: what an answer has promised is still there.
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Miniflare } from 'miniflare';
import { build } from 'vite';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const migration = readFileSync(
  join(root, 'infrastructure/database/migrations/002-logs.sql'),
  'utf8',
);

/** The Worker as one module, as it would be deployed. */
async function bundledWorker(): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: 'silent',
    resolve: { alias: { '@/': root } },
    build: {
      write: false,
      minify: false,
      target: 'esnext',
      lib: { entry: join(root, 'tests/operations/crash-worker.ts'), formats: ['es'] },
      rollupOptions: { external: ['cloudflare:workers'] },
    },
  });
  const [bundle] = Array.isArray(result) ? result : [result];
  const code = bundle !== undefined && 'output' in bundle ? bundle.output[0].code : undefined;
  return code ?? expect.unreachable('nothing was built');
}

let directory: string;
let pidFile: string;
let runtimes: Miniflare[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'crash-'));
  pidFile = join(directory, 'pid');
  runtimes = [];
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

async function start(script: string): Promise<Miniflare> {
  const runtime = new Miniflare({
    host: '127.0.0.1',
    modules: true,
    script,
    compatibilityDate: '2026-04-01',
    d1Databases: ['DB'],
    d1Persist: join(directory, 'd1'),
    durableObjects: { LOG_BUFFER: { className: 'LogBuffer', useSQLite: true } },
    durableObjectsPersist: join(directory, 'objects'),
  });
  runtimes.push(runtime);
  await runtime.ready;
  return runtime;
}

/** Each line is promised by an answer of its own. */
async function log(runtime: Miniflare, from: number, to: number): Promise<void> {
  const numbers = Array.from({ length: to - from }, (_, index) => from + index);
  const answers = await Promise.all(
    numbers.map((number) => runtime.dispatchFetch(`http://127.0.0.1/${number}`)),
  );
  expect(answers.map(({ status }) => status)).toEqual(numbers.map(() => 204));
}

test('killed with -9, it loses no log line that an answer has promised, and stores none twice', async () => {
  const script = await bundledWorker();
  const first = await start(script);
  const database = await first.getD1Database('DB');
  await database.batch(
    migration
      .replaceAll(/--.*$/gm, '')
      .split(';')
      .filter((statement) => statement.trim() !== '')
      .map((statement) => database.prepare(statement)),
  );
  await log(first, 0, 60);
  process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');

  const second = await start(script);
  // With these it is a full batch: nobody has to wait for the ten seconds.
  await log(second, 60, 100);
  const restored = await second.getD1Database('DB');
  const messages = await vi.waitFor(
    async () => {
      const { results } = await restored
        .prepare('SELECT message FROM logs')
        .all<{ message: string }>();
      expect(results.length).toBeGreaterThanOrEqual(100);
      return results.map(({ message }) => Number(message.slice(1)));
    },
    { timeout: 20_000 },
  );
  expect(messages.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, n) => n));
}, 40_000);
