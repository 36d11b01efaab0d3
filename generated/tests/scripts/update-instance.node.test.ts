// Changing an instance that exists.
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import {
  decryptProviderKey,
  readKeyRing,
} from '@/infrastructure/config-service/security/provider-keys';
import { deployInstanceCommand } from '@/scripts/deploy-instance';
import { updateInstanceCommand } from '@/scripts/update-instance';
import { CONFIG, type DeploymentBench, SECRETS, startBench } from './support';

// Real deployments against a real SQLite, for which a busy machine takes its time.
vi.setConfig({ testTimeout: 30_000 });

let bench: DeploymentBench;
beforeAll(async () => {
  bench = await startBench();
}, 30_000);
afterAll(() => bench.stop());
beforeEach(async () => {
  await bench.reset();
  await bench.run(deployInstanceCommand, '--config', await bench.configFile(CONFIG));
  bench.cloudflare.calls.length = 0;
});

async function update(change: object, ...flags: string[]) {
  const path = await bench.configFile({ ...CONFIG, ...change });
  return await bench.run(updateInstanceCommand, '--config', path, ...flags);
}

async function stored(field: string): Promise<unknown> {
  const [row] = await bench.cloudflare.sql(
    `SELECT config ->> '$.${field}' AS value FROM instances`,
  );
  return row?.value;
}

test('without a difference nothing is called that changes anything', async () => {
  const { status, stderr } = await update({});
  expect(status).toBe(0);
  expect(stderr).toContain('nothing differs');
  expect(bench.cloudflare.changes()).toEqual([]);
});

test('a limit is changed in the entry, the cached copy is removed, and nothing is deployed', async () => {
  const entry = 'instance-config:v1:production';
  bench.cloudflare.entries.set(entry, 'an old copy');
  const { status, stderr } = await update({ rate_limits: { ideogram: { rpm: 20, tpm: 5 } } });
  expect(status).toBe(0);
  expect(stderr).toContain('rate_limits.ideogram: {"rpm":500} -> {"rpm":20,"tpm":5}');
  expect(await stored('rate_limits.ideogram.rpm')).toBe(20);
  expect(bench.cloudflare.entries.has(entry)).toBe(false);
  expect(await bench.wranglerCalls()).toHaveLength(2);
});

test('a provider key is replaced, and shown by its name only', async () => {
  const key = 'planted-second-ideogram-key-0123456789';
  bench.environment.IDEOGRAM_API_KEY = key;
  const { stderr, stdout } = await update({});
  expect(stderr).toContain('api_keys.ideogram: replaced');
  expect(stderr + stdout).not.toContain(key);
  const ring = await readKeyRing(SECRETS.PROVIDER_KEY_ENCRYPTION_KEYS);
  const place = { instanceId: 'production', provider: 'ideogram' };
  const ciphertext = String(await stored('api_keys.ideogram.ciphertext'));
  expect(await decryptProviderKey(ring, place, ciphertext)).toBe(key);
});

test('null removes an entry, and what the file does not name stays', async () => {
  const { status } = await update({
    api_keys: { ideogram: null },
    rate_limits: { other: { rpm: 1 } },
  });
  expect(status).toBe(0);
  expect(await stored('api_keys')).toBe('{}');
  expect(JSON.parse(String(await stored('rate_limits')))).toEqual({
    ideogram: { rpm: 500 },
    other: { rpm: 1 },
  });
  expect(await stored('worker_urls.image-gen')).toBeDefined();
});

test('a name and a URL are changed', async () => {
  const url = 'https://images.example.com';
  const { stderr } = await update({ name: 'Main', worker_urls: { 'image-gen': url } });
  expect(stderr).toContain('name: "Production" -> "Main"');
  expect(await stored('worker_urls.image-gen')).toBe(url);
  expect(await bench.cloudflare.sql('SELECT name FROM instances')).toEqual([{ name: 'Main' }]);
});

test('another bucket is made and bound before the entry names it', async () => {
  const { status, stderr, stdout } = await update({ r2_bucket: 'new-images' }, '--json');
  expect(status).toBe(0);
  expect(JSON.parse(stdout).steps).toEqual([
    'create the bucket new-images',
    'deploy image-gen-production: its bindings change',
    'change the entry of production',
  ]);
  expect(stderr).toContain('what is in the bucket prod-images stays there');
  const deployed = JSON.stringify(bench.cloudflare.scripts.get('image-gen-production')?.config);
  expect(deployed).toContain('IMAGES_NEW_IMAGES');
  expect(deployed).not.toContain('IMAGES_PROD_IMAGES');
  expect(await stored('r2_bucket')).toBe('new-images');
});

test('stopped at the deployment it is completed by the next run', async () => {
  await bench.failDeploymentsOf('image-gen-production');
  expect((await update({ r2_bucket: 'new-images' })).status).toBe(1);
  expect(await stored('r2_bucket')).toBe('prod-images');
  await bench.failDeploymentsOf();
  expect((await update({ r2_bucket: 'new-images' })).status).toBe(0);
  expect(await stored('r2_bucket')).toBe('new-images');
});

test('stopped at the entry it is completed without a second deployment', async () => {
  bench.cloudflare.faults.push({
    method: 'POST',
    path: /query/,
    body: /UPDATE/,
    times: 1,
    status: 400,
  });
  expect((await update({ r2_bucket: 'new-images' })).status).toBe(1);
  const calls = (await bench.wranglerCalls()).length;
  expect((await update({ r2_bucket: 'new-images' })).status).toBe(0);
  expect(await bench.wranglerCalls()).toHaveLength(calls);
  expect(await stored('r2_bucket')).toBe('new-images');
});

test('a dry run prints the differences and changes nothing', async () => {
  const { status, stderr } = await update(
    { r2_bucket: null, rate_limits: { ideogram: { rpm: 1 } } },
    '--dry-run',
  );
  expect(status).toBe(0);
  expect(stderr).toContain('r2_bucket: "prod-images" -> nothing');
  expect(stderr).toContain('would do');
  expect(bench.cloudflare.changes()).toEqual([]);
});

test('an unknown instance, and a change of organisation, are refused', async () => {
  const unknown = await update({ instance_id: 'nobody' });
  expect(unknown.status).toBe(1);
  expect(unknown.stderr).toContain('there is no instance nobody');
  const moved = await update({ org_id: 'acme' });
  expect(moved.status).toBe(1);
  expect(moved.stderr).toContain('does not change its organisation');
  expect(bench.cloudflare.changes()).toEqual([]);
});

test('an edit of somebody else in the same moment is kept', async () => {
  // Their write comes between our reading and our writing: ours finds another version and is made again on theirs.
  const database = bench.cloudflare;
  await database.sql(`CREATE TRIGGER theirs BEFORE UPDATE ON instances WHEN old.version = 2 AND new.name <> 'Theirs'
    BEGIN UPDATE instances SET name = 'Theirs', version = 3 WHERE instance_id = old.instance_id; SELECT RAISE(IGNORE); END`);
  expect((await update({ rate_limits: { ideogram: { rpm: 20 } } })).status).toBe(0);
  await database.sql('DROP TRIGGER theirs');
  expect(await database.sql('SELECT name FROM instances')).toEqual([{ name: 'Theirs' }]);
  expect(await stored('rate_limits.ideogram.rpm')).toBe(20);
});
