// Test configuration: every test runs inside workerd, the real Workers runtime, with a local D1 database and KV namespace.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-pool-workers';
import { defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('.', import.meta.url));
const migrationsDirectory = `${root}infrastructure/database/migrations`;
const migrations = existsSync(migrationsDirectory)
  ? await readD1Migrations(migrationsDirectory)
  : [];

export default defineConfig({
  // Not in node_modules, which several checkouts may share.
  cacheDir: '.cache/vite',
  resolve: { alias: { '@/': root } },
  plugins: [
    cloudflareTest({
      miniflare: {
        compatibilityDate: '2026-04-01',
        compatibilityFlags: ['nodejs_compat'],
        d1Databases: ['DB'],
        kvNamespaces: ['CONFIG_CACHE'],
        // What tests make their database from.
        bindings: { TEST_MIGRATIONS: migrations },
      },
    }),
  ],
  test: {
    include: ['tests/**/*.test.ts'],
    passWithNoTests: true,
    maxWorkers: 2,
    // Files share workerd, its modules and its storage, which saves a third of the time: tests reset what they use.
    isolate: false,
    coverage: {
      provider: 'istanbul',
      include: ['infrastructure/**/*.ts', 'workers/**/*.ts'],
      // Commands for an operator run on Node, not in workerd.
      exclude: ['**/*.cli.ts'],
      reporter: ['text', 'json-summary'],
      thresholds: { lines: 90, branches: 80 },
    },
  },
});
