// Deploying every instance of the project; and the two that the project brings.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { deployAllInstancesCommand } from '@/scripts/deploy-all-instances';
import { parseInstanceFile } from '@/scripts/deployment/instance-file';
import { CONFIG, type DeploymentBench, startBench } from './support';

// Real deployments against a real SQLite, for which a busy machine takes its time.
vi.setConfig({ testTimeout: 30_000 });

const INSTANCES = fileURLToPath(new URL('../../instances', import.meta.url));

let bench: DeploymentBench;
beforeAll(async () => {
  bench = await startBench();
}, 30_000);
afterAll(() => bench.stop());
beforeEach(async () => {
  await bench.reset();
  await bench.write('instances/production.json', JSON.stringify(CONFIG));
  await bench.write(
    'instances/development.json',
    JSON.stringify({ ...CONFIG, instance_id: 'development', r2_bucket: 'dev-images' }),
  );
});

test('all instances are deployed, what they share once', async () => {
  const { status, stdout } = await bench.run(deployAllInstancesCommand, '--json');
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    ok: true,
    instances: [{ instance_id: 'development' }, { instance_id: 'production' }],
  });
  expect((await bench.wranglerCalls()).map(({ argv }) => argv[2])).toEqual([
    'config-service',
    'image-gen-development',
    'image-gen-production',
  ]);
});

test('a second run changes nothing', async () => {
  await bench.run(deployAllInstancesCommand);
  bench.cloudflare.calls.length = 0;
  expect((await bench.run(deployAllInstancesCommand)).status).toBe(0);
  expect(bench.cloudflare.changes()).toEqual([]);
});

test('one that fails does not keep the others, and makes the whole fail', async () => {
  await bench.failDeploymentsOf('image-gen-development');
  const { status, stdout, stderr } = await bench.run(deployAllInstancesCommand, '--json');
  expect(status).toBe(1);
  expect(stderr).toContain('error: development.json');
  expect(JSON.parse(stdout)).toMatchObject({
    ok: false,
    instances: [
      { ok: false, file: 'development.json' },
      { ok: true, instance_id: 'production' },
    ],
  });
  expect(bench.cloudflare.scripts.has('image-gen-production')).toBe(true);
});

test('one with an invalid file does not keep the others either', async () => {
  await bench.write('instances/broken.json', '{}');
  const { status, stdout } = await bench.run(deployAllInstancesCommand);
  expect(status).toBe(1);
  expect(stdout).toContain('broken.json: failed');
  expect(bench.cloudflare.scripts.size).toBe(3);
});

test('a dry run of all changes nothing', async () => {
  expect((await bench.run(deployAllInstancesCommand, '--dry-run')).status).toBe(0);
  expect(bench.cloudflare.changes()).toEqual([]);
});

test('a project without instances is refused', async () => {
  await bench.reset();
  const { status, stderr } = await bench.run(deployAllInstancesCommand);
  expect(status).toBe(1);
  expect(stderr).toContain('there is no instances/*.json');
});

test("the project's own instances are valid and hold no key", async () => {
  const names = (await readdir(INSTANCES)).sort();
  expect(names).toEqual(['development.json', 'production.json']);
  for (const name of names) {
    const text = await readFile(join(INSTANCES, name), 'utf8');
    const environment = { IDEOGRAM_API_KEY: 'a-key', IDEOGRAM_API_KEY_DEVELOPMENT: 'b-key' };
    const { file, warnings } = parseInstanceFile(text, 'new', environment);
    expect(`${file.instanceId}.json`).toBe(name);
    // A key in the file would be a warning.
    expect(warnings).toEqual([]);
  }
});
