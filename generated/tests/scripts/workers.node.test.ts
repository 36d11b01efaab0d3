// Which Workers are found, what is deployed of them, and that the real wrangler takes the configuration that it is given.
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { processContext } from '@/scripts/deployment/process-context';
import { createReporter } from '@/scripts/deployment/reporter';
import {
  bucketBinding,
  discoverWorkers,
  instanceDeployables,
  secretsOf,
  sharedDeployables,
} from '@/scripts/deployment/workers';
import { spawnWrangler, wranglerDeploy } from '@/scripts/deployment/wrangler';
import {
  configFingerprint,
  configFor,
  deploymentMessage,
  readDeploymentMessage,
  sourcesFingerprint,
} from '@/scripts/deployment/wrangler-config';
import { ACCOUNT_ID, API_TOKEN } from './fake-cloudflare';
import { type DeploymentBench, startBench } from './support';

// Real deployments against a real SQLite, for which a busy machine takes its time.
vi.setConfig({ testTimeout: 30_000 });

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const REAL_DRY_RUN = fileURLToPath(new URL('./wrangler-dry-run.mjs', import.meta.url));
const NO_IDS = { databases: new Map<string, string>(), namespaces: new Map<string, string>() };

let bench: DeploymentBench;
beforeAll(async () => {
  bench = await startBench();
}, 30_000);
afterAll(() => bench.stop());
beforeEach(() => bench.reset());

describe('Workers', () => {
  test('are found by their configuration; one with bindings only is skipped', async () => {
    const workers = await discoverWorkers(bench.projectRoot);
    expect(workers.map(({ type, shared }) => [type, shared])).toEqual([
      ['config-service', true],
      ['image-gen', false],
    ]);
  });

  test('under a folder `shared` serve all instances, and come before those that are bound to them', async () => {
    await bench.write(
      'workers/shared/logging/wrangler.toml',
      'name = "logging"\nmain = "index.ts"\n[triggers]\ncrons = ["17 3 * * *"]\n',
    );
    await bench.write(
      'workers/video-gen/wrangler.jsonc',
      '{ "name": "video-gen", "main": "a.ts" }',
    );
    const workers = await discoverWorkers(bench.projectRoot);
    expect(sharedDeployables(workers).map(({ name }) => name)).toEqual([
      'config-service',
      'logging',
    ]);
    expect(instanceDeployables(workers, 'development').map(({ name }) => name)).toEqual([
      'image-gen-development',
      'video-gen-development',
    ]);
  });

  test.each([
    ['no TOML', 'name = ', 'workers/bad/wrangler.toml'],
    ['a main without a name', 'main = "index.ts"', 'has main, but no name'],
    ['bindings of the wrong kind', 'name = "a"\nd1_databases = 1', 'd1_databases'],
    ['the name of another', 'name = "image-gen"\nmain = "index.ts"', 'the same name'],
  ])('with %s are a mistake that names the file', async (_, content, message) => {
    await bench.write('workers/bad/wrangler.toml', content);
    await expect(discoverWorkers(bench.projectRoot)).rejects.toThrow(message);
    await expect(discoverWorkers(bench.projectRoot)).rejects.toThrow('workers/bad/wrangler.toml');
  });

  test('that list their secrets get those', async () => {
    await bench.write(
      'workers/video-gen/wrangler.toml',
      'name = "video-gen"\nmain = "index.ts"\n[secrets]\nrequired = ["VIDEO_TOKEN"]\n',
    );
    const workers = await discoverWorkers(bench.projectRoot);
    const [, video] = instanceDeployables(workers, 'production');
    expect(video === undefined ? [] : secretsOf(video)).toEqual(['VIDEO_TOKEN']);
  });

  test('of this project are found', async () => {
    expect((await discoverWorkers(ROOT)).map(({ type }) => type)).toContain('config-service');
  });
});

describe('the configuration that is deployed', () => {
  const ids = {
    databases: new Map([['multiagent', 'the-database']]),
    namespaces: new Map([['CONFIG_CACHE', 'the-namespace']]),
  };
  const imageGen = async (instance: string) => {
    const [found] = instanceDeployables(await discoverWorkers(bench.projectRoot), instance);
    if (found === undefined) {
      throw new Error('the test project has an image-gen');
    }
    return found;
  };

  test('has the ids of the account, absolute paths and the bucket of the instance', async () => {
    expect(configFor(await imageGen('staging'), ids, 'staging-images')).toMatchObject({
      name: 'image-gen-staging',
      main: join(bench.projectRoot, 'workers/image-gen/index.ts'),
      d1_databases: [{ binding: 'DB', database_id: 'the-database' }],
      kv_namespaces: [{ binding: 'CONFIG_CACHE', id: 'the-namespace' }],
      r2_buckets: [
        { binding: 'IMAGES', bucket_name: 'default-images' },
        { binding: 'IMAGES_STAGING_IMAGES', bucket_name: 'staging-images' },
      ],
    });
  });

  test('keeps ids that somebody has written into the file', async () => {
    await bench.write(
      'workers/image-gen/wrangler.toml',
      'name = "image-gen"\nmain = "index.ts"\nd1_databases = [{ binding = "DB", database_name = "multiagent", database_id = "theirs" }]\nkv_namespaces = [{ binding = "CONFIG_CACHE", id = "theirs" }]\n',
    );
    expect(configFor(await imageGen('staging'), ids, null)).toMatchObject({
      d1_databases: [{ database_id: 'theirs' }],
      kv_namespaces: [{ id: 'theirs' }],
    });
  });

  test('has the same fingerprint wherever the project stands, and another for another bucket', async () => {
    const config = configFor(await imageGen('staging'), ids, null);
    const moved = JSON.parse(JSON.stringify(config).replaceAll(bench.projectRoot, '/elsewhere'));
    const fingerprint = configFingerprint(config, bench.projectRoot);
    expect(configFingerprint(moved, '/elsewhere')).toBe(fingerprint);
    const other = configFor(await imageGen('staging'), ids, 'other');
    expect(configFingerprint(other, bench.projectRoot)).not.toBe(fingerprint);
  });

  test('names the binding of a bucket as the Worker looks for it', () => {
    expect(bucketBinding('prod-images')).toBe('IMAGES_PROD_IMAGES');
  });
});

test('the fingerprint of the sources follows the code, and not what is no code', async () => {
  const before = await sourcesFingerprint(bench.projectRoot);
  await bench.write('workers/image-gen/README.md', 'text');
  expect(await sourcesFingerprint(bench.projectRoot)).toBe(before);
  await bench.write('workers/image-gen/index.ts', 'export default {}');
  expect(await sourcesFingerprint(bench.projectRoot)).not.toBe(before);
});

test('the message of a deployment is short enough for Cloudflare, and is read back', () => {
  const fingerprints = { config: '0123456789abcdef', sources: 'fedcba9876543210' };
  expect(deploymentMessage(fingerprints).length).toBeLessThan(100);
  expect(readDeploymentMessage(deploymentMessage(fingerprints))).toEqual(fingerprints);
  expect(readDeploymentMessage('deployed by hand')).toBeNull();
});

test('the real wrangler accepts and bundles what it is given, for every Worker of this project', async () => {
  const workers = await discoverWorkers(ROOT);
  const out = await mkdtemp(join(tmpdir(), 'wrangler-out-'));
  const context = {
    ...processContext(),
    wrangler: spawnWrangler([process.execPath, REAL_DRY_RUN, out]),
    stderr: () => {},
  };
  const reporter = createReporter(context, false);
  const ids = {
    ...NO_IDS,
    databases: new Map([['multiagent', '11111111-1111-4111-8111-111111111111']]),
    namespaces: new Map([['CONFIG_CACHE', '1'.repeat(32)]]),
  };
  const all = [
    ...sharedDeployables(workers),
    ...instanceDeployables(workers, 'production'),
    // Without an environment of its own.
    ...instanceDeployables(workers, 'staging'),
  ];
  try {
    await Promise.all(
      all.map(async (deployable) => {
        const { name, environment } = deployable;
        const config = configFor(deployable, ids, 'production-images');
        const account = { id: ACCOUNT_ID, token: API_TOKEN };
        await wranglerDeploy(context, account, reporter, {
          name,
          environment,
          config,
          message: 'a test',
        });
      }),
    );
    expect((await readdir(out)).sort()).toEqual(all.map(({ name }) => name).sort());
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}, 60_000);
