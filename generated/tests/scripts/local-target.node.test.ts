// The same commands with --local: on this machine, without an account.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Miniflare } from 'miniflare';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { deleteInstanceCommand } from '@/scripts/delete-instance';
import { deployInstanceCommand } from '@/scripts/deploy-instance';
import type { Command } from '@/scripts/deployment/session';
import { localSecrets, persistOptions } from '@/scripts/local/storage';
import { updateInstanceCommand } from '@/scripts/update-instance';
import { CONFIG, type DeploymentBench, SECRETS, startBench } from './support';

// Real deployments against a real SQLite, for which a busy machine takes its time.
vi.setConfig({ testTimeout: 30_000 });

let bench: DeploymentBench;
let state = '';
beforeAll(async () => {
  bench = await startBench();
}, 30_000);
afterAll(() => bench.stop());
beforeEach(async () => {
  await bench.reset();
  state = join(bench.projectRoot, 'state');
  for (const name of ['CLOUDFLARE_ACCOUNT_ID', 'CLOUDFLARE_API_TOKEN', 'SERVICE_TOKEN']) {
    delete bench.environment[name];
  }
});

async function run(command: Command, content: object, ...flags: string[]) {
  const path = await bench.configFile(content);
  return await bench.run(
    command,
    '--config',
    path,
    '--local',
    '--state',
    state,
    '--json',
    ...flags,
  );
}

/** What the local database and bucket hold, read by a runtime of our own. */
async function look(): Promise<Record<string, unknown>[]> {
  const runtime = new Miniflare({
    modules: true,
    script: 'export default {};',
    d1Databases: { DB: 'multiagent' },
    ...persistOptions(state),
  });
  try {
    const database = await runtime.getD1Database('DB');
    return (await database.prepare('SELECT * FROM instances ORDER BY instance_id').all()).results;
  } finally {
    await runtime.dispose();
  }
}

test('two instances are deployed side by side, changed and deleted, and nothing is called', async () => {
  const development = { ...CONFIG, instance_id: 'development', r2_bucket: 'dev-images' };
  const first = await run(deployInstanceCommand, CONFIG);
  expect(first.stderr).toContain('done');
  expect(first.status).toBe(0);
  expect((await run(deployInstanceCommand, development)).status).toBe(0);
  const rows = await look();
  expect(rows.map(({ instance_id }) => instance_id)).toEqual(['development', 'production']);
  const urls = rows.map(({ config }) => JSON.parse(String(config)).worker_urls['image-gen']);
  expect(new Set(urls).size).toBe(2);
  for (const url of urls) {
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  }

  expect(JSON.parse((await run(deployInstanceCommand, CONFIG)).stdout).steps).toEqual([]);

  const changed = { ...CONFIG, rate_limits: { ideogram: { rpm: 3 } } };
  expect(JSON.parse((await run(updateInstanceCommand, changed)).stdout).differences).toEqual([
    'rate_limits.ideogram: {"rpm":500} -> {"rpm":3}',
  ]);

  expect((await run(deleteInstanceCommand, CONFIG, '--yes')).status).toBe(0);
  expect((await look()).map(({ instance_id }) => instance_id)).toEqual(['development']);
  expect(bench.cloudflare.calls).toEqual([]);
  expect(await bench.wranglerCalls()).toEqual([]);
}, 60_000);

test('provider keys are encrypted with a key of the local system, not with a real one', async () => {
  await run(deployInstanceCommand, CONFIG);
  const secrets = await localSecrets(state);
  expect(secrets.PROVIDER_KEY_ENCRYPTION_KEYS).not.toBe(SECRETS.PROVIDER_KEY_ENCRYPTION_KEYS);
  expect(JSON.stringify(await look())).not.toContain(SECRETS.IDEOGRAM_API_KEY);
  expect(JSON.stringify(await look())).toContain('v1.local.');
}, 60_000);

test('a Worker that cannot be bundled is not deployed', async () => {
  await bench.write('workers/image-gen/index.ts', "import './not-there';\n");
  const { status, stderr } = await run(deployInstanceCommand, CONFIG);
  expect(status).toBe(1);
  expect(stderr).toContain('workers/image-gen/wrangler.toml: cannot be bundled');
  await rm(state, { recursive: true, force: true });
}, 60_000);

test('--state without --local is refused', async () => {
  const path = await bench.configFile(CONFIG);
  const { status, stderr } = await bench.run(
    deployInstanceCommand,
    '--config',
    path,
    '--state',
    state,
  );
  expect(status).toBe(1);
  expect(stderr).toContain('--state goes with --local');
});
