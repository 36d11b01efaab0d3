// A new instance from end to end, through the commands that a person types, against a fake Cloudflare and a fake wrangler:
// made, made again, interrupted, completed, changed, deleted; and both instances of the project at once.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { deleteInstanceCommand } from '@/scripts/delete-instance';
import { deployAllInstancesCommand } from '@/scripts/deploy-all-instances';
import { deployInstanceCommand } from '@/scripts/deploy-instance';
import { updateInstanceCommand } from '@/scripts/update-instance';
import { API_TOKEN } from '@/tests/scripts/fake-cloudflare';
import { CONFIG, type DeploymentBench, SECRETS, startBench } from '@/tests/scripts/support';

// Real deployments against a real SQLite, for which a busy machine takes its time.
vi.setConfig({ testTimeout: 30_000 });

const INSTANCES = fileURLToPath(new URL('../../instances', import.meta.url));
const URL_OF_PRODUCTION = 'https://image-gen-production.example.workers.dev';

let bench: DeploymentBench;
beforeAll(async () => {
  bench = await startBench();
}, 30_000);
afterAll(() => bench.stop());
beforeEach(() => bench.reset());

async function state() {
  const rows =
    bench.cloudflare.databases.size === 0
      ? []
      : await bench.cloudflare.sql(
          'SELECT instance_id, config FROM instances ORDER BY instance_id',
        );
  return {
    entries: Object.fromEntries(
      rows.map(({ instance_id, config }) => [instance_id, JSON.parse(String(config))]),
    ),
    buckets: [...bench.cloudflare.buckets.keys()].sort(),
    workers: [...bench.cloudflare.scripts.keys()].sort(),
  };
}

test('the life of an instance', async () => {
  bench.useProgram();
  const path = await bench.configFile(CONFIG);
  const deploy = () => bench.run(deployInstanceCommand, '--config', path);

  // Stopped in the middle: the entry is there, its Worker is not, and so it names no URL.
  await bench.failDeploymentsOf('image-gen-production');
  expect((await deploy()).status).toBe(1);
  const half = await state();
  expect(half.entries.production.worker_urls).toEqual({});
  expect(half.buckets).toEqual(['default-images', 'prod-images']);
  expect(half.workers).toEqual(['config-service']);

  await bench.failDeploymentsOf();
  const completed = await deploy();
  expect(completed.status).toBe(0);
  expect(completed.stdout).toContain(URL_OF_PRODUCTION);
  const whole = await state();
  expect(whole.entries.production.worker_urls).toEqual({ 'image-gen': URL_OF_PRODUCTION });
  expect(whole.workers).toEqual(['config-service', 'image-gen-production']);

  bench.cloudflare.calls.length = 0;
  expect((await deploy()).status).toBe(0);
  expect(bench.cloudflare.changes()).toEqual([]);
  expect(await state()).toEqual(whole);

  const changed = await bench.configFile({
    ...CONFIG,
    rate_limits: { ideogram: { rpm: 100 } },
    r2_bucket: 'other-images',
  });
  expect((await bench.run(updateInstanceCommand, '--config', changed)).status).toBe(0);
  const after = await state();
  expect(after.entries.production).toMatchObject({
    rate_limits: { ideogram: { rpm: 100 } },
    r2_bucket: 'other-images',
    worker_urls: { 'image-gen': URL_OF_PRODUCTION },
  });
  expect(after.entries.production.api_keys).toEqual(whole.entries.production.api_keys);
  expect(JSON.stringify(bench.cloudflare.scripts.get('image-gen-production')?.config)).toContain(
    'IMAGES_OTHER_IMAGES',
  );

  const flags = ['--instance', 'production', '--yes'];
  expect((await bench.run(deleteInstanceCommand, ...flags)).status).toBe(0);
  expect(await state()).toEqual({
    entries: {},
    buckets: ['default-images', 'prod-images'],
    workers: ['config-service'],
  });
  for (const secret of [API_TOKEN, ...Object.values(SECRETS)]) {
    expect(bench.printed()).not.toContain(secret);
  }
});

describe('both instances of the project', () => {
  beforeEach(async () => {
    for (const name of ['production.json', 'development.json']) {
      await bench.write(`instances/${name}`, await readFile(`${INSTANCES}/${name}`, 'utf8'));
    }
    bench.environment.IDEOGRAM_API_KEY_DEVELOPMENT = 'planted-development-key-0123456789';
  });

  test('are deployed side by side, each with its own key, bucket and Worker', async () => {
    expect((await bench.run(deployAllInstancesCommand)).status).toBe(0);
    const { entries, buckets, workers } = await state();
    expect(Object.keys(entries)).toEqual(['development', 'production']);
    expect(buckets).toEqual(['default-images', 'development-images', 'production-images']);
    expect(workers).toEqual(['config-service', 'image-gen-development', 'image-gen-production']);
    expect(entries.production.api_keys.ideogram.ciphertext).not.toBe(
      entries.development.api_keys.ideogram.ciphertext,
    );
  });

  test('are completed by the next run after an outage in the middle', async () => {
    bench.cloudflare.faults.push({ method: 'POST', path: /buckets$/, times: 99, status: 503 });
    expect((await bench.run(deployAllInstancesCommand)).status).toBe(1);
    bench.cloudflare.faults.length = 0;
    expect((await bench.run(deployAllInstancesCommand)).status).toBe(0);
    expect(Object.values((await state()).entries)).toHaveLength(2);
    bench.cloudflare.calls.length = 0;
    expect((await bench.run(deployAllInstancesCommand)).status).toBe(0);
    expect(bench.cloudflare.changes()).toEqual([]);
  });
});
