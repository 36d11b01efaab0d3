// Test configuration: three kinds of tests, told apart by the names of their files.
//
//   *.test.ts              in workerd, the real Workers runtime, with local D1, KV, R2 and Durable Objects
//   *.node.test.ts         on Node: scripts, workflows, documentation
//   *.dom.test.ts(x)       in a DOM without a browser: the interfaces
//
// `*.browser.test.ts` drive a real browser: `npm run test:browser`.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-pool-workers';
import { configDefaults, defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('.', import.meta.url));
const migrationsDirectory = `${root}infrastructure/database/migrations`;
const migrations = existsSync(migrationsDirectory)
  ? await readD1Migrations(migrationsDirectory)
  : [];

const onNode = 'tests/**/*.node.test.ts';
const inDom = 'tests/**/*.dom.test.{ts,tsx}';
const inBrowser = 'tests/**/*.browser.test.ts';
const resolve = { alias: { '@/': root } };
/** On a busy machine a test may take many times as long as it does alone; only one that hangs shall fail. */
const testTimeout = 30_000;

export default defineConfig({
  // Not in node_modules, which several checkouts may share.
  cacheDir: '.cache/vite',
  test: {
    passWithNoTests: true,
    maxWorkers: 2,
    coverage: {
      provider: 'istanbul',
      include: ['infrastructure/**/*.ts', 'workers/**/*.ts'],
      // Commands for an operator run on Node, not in workerd.
      exclude: ['**/*.cli.ts'],
      reporter: ['text', 'json-summary'],
      thresholds: { lines: 90, branches: 80 },
    },
    projects: [
      {
        resolve,
        plugins: [
          cloudflareTest({
            main: './tests/runtime.ts',
            miniflare: {
              compatibilityDate: '2026-04-01',
              compatibilityFlags: ['nodejs_compat'],
              d1Databases: ['DB'],
              kvNamespaces: ['CONFIG_CACHE'],
              r2Buckets: ['IMAGES', 'IMAGES_PROD_IMAGES'],
              durableObjects: {
                RATE_LIMITER: { className: 'RateLimiter', useSQLite: true },
                CIRCUIT_BREAKER: { className: 'CircuitBreaker', useSQLite: true },
                LOG_BUFFER: { className: 'LogBuffer', useSQLite: true },
                JOBS: { className: 'GenerationJob', useSQLite: true },
              },
              // What tests make their database from.
              bindings: { TEST_MIGRATIONS: migrations },
            },
          }),
        ],
        test: {
          name: 'workerd',
          include: ['tests/**/*.test.ts'],
          exclude: [...configDefaults.exclude, onNode, inDom, inBrowser],
          // Files share workerd, its modules and its storage, which saves a third of the time: tests reset what they use.
          isolate: false,
          testTimeout,
        },
      },
      {
        resolve,
        // What files share is imported once; each starts its own system, and none changes what another sees.
        test: { name: 'node', include: [onNode], environment: 'node', isolate: false, testTimeout },
      },
      { resolve, test: { name: 'dom', include: [inDom], environment: 'happy-dom', testTimeout } },
    ],
  },
});
