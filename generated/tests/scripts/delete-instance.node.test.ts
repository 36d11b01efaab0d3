// Deleting an instance: whole, half, and not there at all.
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { deleteInstanceCommand } from '@/scripts/delete-instance';
import { deployInstanceCommand } from '@/scripts/deploy-instance';
import { CONFIG, type DeploymentBench, startBench } from './support';

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

const remove = (...flags: string[]) =>
  bench.run(deleteInstanceCommand, '--instance', 'production', ...flags);

const whatIsLeft = async () => ({
  entries: (await bench.cloudflare.sql('SELECT instance_id FROM instances')).length,
  bucket: bench.cloudflare.buckets.has('prod-images'),
  worker: bench.cloudflare.scripts.has('image-gen-production'),
});
const EVERYTHING = { entries: 1, bucket: true, worker: true };
const NOTHING = { entries: 0, bucket: false, worker: false };

describe('a whole instance', () => {
  test('goes: Worker first, entry last, and what all instances share stays', async () => {
    const { status, stdout } = await remove('--yes', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout).steps).toEqual([
      'delete the Worker image-gen-production, with its Durable Objects',
      'delete the bucket prod-images',
      'delete the entry of production, with 0 projects and their keys, and the access of 0 users',
    ]);
    expect(await whatIsLeft()).toEqual(NOTHING);
    expect([...bench.cloudflare.scripts.keys()]).toEqual(['config-service']);
    expect([...bench.cloudflare.buckets.keys()]).toEqual(['default-images']);
  });

  test('is only listed without --yes, which is a failure', async () => {
    const { status, stderr } = await remove();
    expect(status).toBe(1);
    expect(stderr).toContain('delete the bucket prod-images');
    expect(stderr).toContain('Pass --yes');
    expect(await whatIsLeft()).toEqual(EVERYTHING);
    expect(bench.cloudflare.changes()).toEqual([]);
  });

  test('is only listed in a dry run, which is none', async () => {
    expect((await remove('--dry-run', '--yes')).status).toBe(0);
    expect(bench.cloudflare.changes()).toEqual([]);
  });

  test('can be made again afterwards', async () => {
    await remove('--yes');
    const again = await bench.run(
      deployInstanceCommand,
      '--config',
      await bench.configFile(CONFIG),
    );
    expect(again.status).toBe(0);
    expect(await whatIsLeft()).toEqual(EVERYTHING);
  });
});

describe('a bucket with objects', () => {
  beforeEach(() => {
    const objects = bench.cloudflare.buckets.get('prod-images');
    for (let index = 0; index < 130; index += 1) {
      objects?.add(`production/content forge/${index}_image.png`);
    }
  });

  test('stops everything before anything is deleted', async () => {
    const { status, stderr } = await remove('--yes');
    expect(status).toBe(1);
    expect(stderr).toContain('--delete-objects');
    expect(await whatIsLeft()).toEqual(EVERYTHING);
    expect(bench.cloudflare.changes()).toEqual([]);
  });

  test('is emptied and deleted with --delete-objects', async () => {
    const { status, stderr } = await remove('--yes', '--delete-objects');
    expect(status).toBe(0);
    expect(stderr).toContain('130 objects deleted');
    expect(bench.cloudflare.changes()).toContain(
      'DELETE /r2/buckets/prod-images/objects/production/content%20forge/0_image.png',
    );
    expect(await whatIsLeft()).toEqual(NOTHING);
  });
});

describe('a bucket that others use', () => {
  test('stays if another instance has it', async () => {
    const path = await bench.configFile({ ...CONFIG, instance_id: 'second' });
    await bench.run(deployInstanceCommand, '--config', path);
    const { status, stderr } = await remove('--yes');
    expect(status).toBe(0);
    expect(stderr).toContain('the bucket prod-images stays: second uses it as well');
    expect(await whatIsLeft()).toEqual({ entries: 1, bucket: true, worker: false });
  });

  test('stays if it is the default bucket of another instance', async () => {
    await bench.run(
      deployInstanceCommand,
      '--config',
      await bench.configFile({ ...CONFIG, instance_id: 'second' }),
    );
    await bench.cloudflare.sql(
      "UPDATE instances SET config = json_set(config, '$.r2_bucket', 'default-images') WHERE instance_id = 'production'",
    );
    expect((await remove('--yes')).stderr).toContain('default-images stays');
    expect(bench.cloudflare.buckets.has('default-images')).toBe(true);
  });
});

describe('half an instance', () => {
  test.each([
    ['without its Worker', () => bench.cloudflare.scripts.delete('image-gen-production')],
    ['without its bucket', () => bench.cloudflare.buckets.delete('prod-images')],
  ])('%s goes without complaint', async (_, take) => {
    take();
    expect((await remove('--yes')).status).toBe(0);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test('without its entry goes by its file, which knows the bucket', async () => {
    await bench.cloudflare.sql('DELETE FROM instances');
    const path = await bench.configFile({ instance_id: 'production', r2_bucket: 'prod-images' });
    const { status } = await bench.run(deleteInstanceCommand, '--config', path, '--yes');
    expect(status).toBe(0);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test.each([
    ['at the Worker', 'DELETE', /scripts/],
    ['at the bucket', 'DELETE', /buckets/],
    ['at the entry', 'POST', /query/],
  ] as const)('that is left by a failure %s goes with the next run', async (_, method, path) => {
    const body = method === 'POST' ? { body: /DELETE FROM instances/ } : {};
    bench.cloudflare.faults.push({ method, path, ...body, times: 1, status: 403, code: 10000 });
    expect((await remove('--yes')).status).toBe(1);
    expect((await remove('--yes')).status).toBe(0);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test('that somebody else is deleting at the same time is no failure', async () => {
    bench.cloudflare.faults.push({
      method: 'DELETE',
      path: /scripts|buckets/,
      times: 2,
      status: 404,
    });
    expect((await remove('--yes')).status).toBe(0);
  });
});

test('an unknown instance is said to be not there, and nothing is deleted', async () => {
  const { status, stderr } = await bench.run(
    deleteInstanceCommand,
    '--instance',
    'nobody',
    '--yes',
  );
  expect(status).toBe(0);
  expect(stderr).toContain('nobody: nothing of it is there');
  expect(bench.cloudflare.changes()).toEqual([]);
});

test('in an empty account nothing is there either', async () => {
  await bench.reset();
  expect((await remove('--yes')).stderr).toContain('nothing of it is there');
});

test.each([
  ['neither instance nor file', []],
  ['both', ['--instance', 'a', '--config', 'b']],
  ['no identifier', ['--instance', '../x']],
  ['a file that is not there', ['--config', '/nowhere.json']],
])('%s is refused', async (_, flags) => {
  expect((await bench.run(deleteInstanceCommand, ...flags)).status).toBe(1);
  expect(bench.cloudflare.calls).toEqual([]);
});

test('a file without an instance is refused', async () => {
  const path = await bench.configFile({ r2_bucket: 'x' });
  expect((await bench.run(deleteInstanceCommand, '--config', path)).status).toBe(1);
});
