// Deploying one instance, against a fake Cloudflare and a fake wrangler.
import { readdir } from 'node:fs/promises';
import * as v from 'valibot';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  decryptProviderKey,
  readKeyRing,
} from '@/infrastructure/config-service/security/provider-keys';
import { deployInstanceCommand } from '@/scripts/deploy-instance';
import { API_TOKEN } from './fake-cloudflare';
import { CONFIG, type DeploymentBench, SECRETS, startBench } from './support';

// Real deployments against a real SQLite, for which a busy machine takes its time.
vi.setConfig({ testTimeout: 30_000 });

let bench: DeploymentBench;
beforeAll(async () => {
  bench = await startBench();
}, 30_000);
afterAll(() => bench.stop());
beforeEach(() => bench.reset());

async function deploy(...flags: string[]) {
  return await bench.run(
    deployInstanceCommand,
    '--config',
    await bench.configFile(CONFIG),
    ...flags,
  );
}

const Production = v.object({ env: v.object({ production: v.record(v.string(), v.unknown()) }) });

async function storedConfig(): Promise<Record<string, Record<string, unknown>>> {
  const [row] = await bench.cloudflare.sql(
    "SELECT config FROM instances WHERE instance_id = 'production'",
  );
  return JSON.parse(String(row?.config));
}

describe('a new instance', () => {
  test('is made in an order in which each step only needs those before it', async () => {
    bench.useProgram();
    const { status, stderr } = await deploy();
    expect(stderr).toContain('done');
    expect(status).toBe(0);
    const [databaseId] = bench.cloudflare.databases.values();
    const [namespaceId] = bench.cloudflare.namespaces.values();
    expect(databaseId).toBeDefined();
    expect(bench.cloudflare.changes()).toEqual([
      'POST /d1/database',
      ...(await bench.cloudflare.sql('SELECT name FROM d1_migrations')).map(
        () => 'QUERY CREATE TABLE IF',
      ),
      'POST /storage/kv/namespaces',
      'QUERY INSERT INTO organizations',
      'QUERY INSERT INTO instances',
      `DELETE /storage/kv/namespaces/${namespaceId}/values/instance-config%3Av1%3Aproduction`,
      'POST /r2/buckets',
      'POST /r2/buckets',
      'PUT /workers/scripts/config-service',
      'PUT /workers/scripts/config-service/secrets',
      'PUT /workers/scripts/config-service/secrets',
      'PUT /workers/scripts/image-gen-production',
      'PUT /workers/scripts/image-gen-production/secrets',
      'PUT /workers/scripts/image-gen-production/secrets',
      'QUERY UPDATE instances SET',
      `DELETE /storage/kv/namespaces/${namespaceId}/values/instance-config%3Av1%3Aproduction`,
    ]);
    expect([...bench.cloudflare.buckets.keys()].sort()).toEqual(['default-images', 'prod-images']);
  });

  test('has its entry, with the URL of its Worker and its provider key encrypted', async () => {
    await deploy();
    const config = await storedConfig();
    expect(config.worker_urls).toEqual({
      'image-gen': 'https://image-gen-production.example.workers.dev',
    });
    expect(config.rate_limits).toEqual({ ideogram: { rpm: 500 } });
    expect(config.r2_bucket).toBe('prod-images');
    const stored = config.api_keys?.ideogram;
    const { ciphertext } = v.parse(v.object({ ciphertext: v.string() }), stored);
    const ring = await readKeyRing(SECRETS.PROVIDER_KEY_ENCRYPTION_KEYS);
    const place = { instanceId: 'production', provider: 'ideogram' };
    expect(await decryptProviderKey(ring, place, ciphertext)).toBe(SECRETS.IDEOGRAM_API_KEY);
  });

  test('is deployed by wrangler with name, environment and the ids of this account', async () => {
    await deploy();
    const calls = await bench.wranglerCalls();
    expect(calls.map(({ argv }) => argv.slice(0, 5))).toEqual([
      ['deploy', '--name', 'config-service', '--env', 'production'],
      ['deploy', '--name', 'image-gen-production', '--env', 'production'],
    ]);
    const production = v.parse(Production, calls[1]?.config).env.production;
    expect(production.d1_databases).toMatchObject([
      { binding: 'DB', database_id: bench.cloudflare.databases.get('multiagent') },
    ]);
    expect(production.kv_namespaces).toMatchObject([
      { binding: 'CONFIG_CACHE', id: bench.cloudflare.namespaces.get('CONFIG_CACHE') },
    ]);
    expect(production.r2_buckets).toEqual([
      { binding: 'IMAGES', bucket_name: 'default-images' },
      { binding: 'IMAGES_PROD_IMAGES', bucket_name: 'prod-images' },
    ]);
  });

  test('without an environment of its name gets the top level of the configuration', async () => {
    const path = await bench.configFile({ ...CONFIG, instance_id: 'staging' });
    expect((await bench.run(deployInstanceCommand, '--config', path)).status).toBe(0);
    const argv = (await bench.wranglerCalls())[1]?.argv ?? [];
    expect(argv.slice(0, 4)).toEqual(['deploy', '--name', 'image-gen-staging', '--env=']);
  });

  test('gives its Workers the secrets that they need and no others', async () => {
    await deploy();
    const secretsOf = (name: string) =>
      Object.fromEntries(bench.cloudflare.scripts.get(name)?.secrets ?? []);
    expect(secretsOf('config-service')).toEqual({
      PROVIDER_KEY_ENCRYPTION_KEYS: SECRETS.PROVIDER_KEY_ENCRYPTION_KEYS,
      SERVICE_TOKEN: SECRETS.SERVICE_TOKEN,
    });
    expect(secretsOf('image-gen-production')).toEqual({
      SERVICE_TOKEN: SECRETS.SERVICE_TOKEN,
      CACHE_ENCRYPTION_KEY: SECRETS.CACHE_ENCRYPTION_KEY,
    });
  });

  test('is answered for as JSON on standard output and nowhere else', async () => {
    const { stdout } = await deploy('--json');
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      instance_id: 'production',
      worker_urls: { 'image-gen': 'https://image-gen-production.example.workers.dev' },
    });
  });

  test('prints its URLs', async () => {
    expect((await deploy()).stdout).toContain('https://image-gen-production.example.workers.dev');
  });
});

describe('a second run', () => {
  test('changes nothing', async () => {
    await deploy();
    bench.cloudflare.calls.length = 0;
    const { status, stderr } = await deploy();
    expect(status).toBe(0);
    expect(stderr).toContain('everything is there');
    expect(bench.cloudflare.changes()).toEqual([]);
    expect(await bench.wranglerCalls()).toHaveLength(2);
  });

  test('leaves an entry that somebody has edited as it is, and says so', async () => {
    await deploy();
    await bench.cloudflare.sql(
      "UPDATE instances SET config = json_set(config, '$.rate_limits.ideogram.rpm', 7)",
    );
    const { status, stderr } = await deploy();
    expect(status).toBe(0);
    expect(stderr).toContain('rate_limits.ideogram: {"rpm":7} -> {"rpm":500}');
    expect((await storedConfig()).rate_limits).toEqual({ ideogram: { rpm: 7 } });
  });

  test('deploys again what has changed, and only that', async () => {
    await deploy();
    await bench.write(
      'workers/image-gen/wrangler.toml',
      'name = "image-gen"\nmain = "index.ts"\nservices = [{ binding = "CONFIG_SERVICE", service = "config-service" }]\n',
    );
    const { stdout } = await deploy('--json');
    expect(JSON.parse(stdout).steps).toEqual([
      'deploy image-gen-production: its configuration has changed',
    ]);
    await bench.write('workers/image-gen/index.ts', 'export default {};\n');
    expect(JSON.parse((await deploy('--json')).stdout).steps).toEqual([
      'deploy config-service in the environment production: the code has changed',
      'deploy image-gen-production: the code has changed',
    ]);
  });

  test('deploys again what was deployed by other means', async () => {
    await deploy();
    const script = bench.cloudflare.scripts.get('image-gen-production');
    Object.assign(script ?? {}, { message: null });
    expect(JSON.parse((await deploy('--json')).stdout).steps).toEqual([
      'deploy image-gen-production in the environment production: it was deployed by other means',
    ]);
  });
});

describe('a failure', () => {
  // Each is a call of a first deployment that is refused once and for all; the next run finds it mended.
  const steps = [
    ['creating the database', 'POST', /^\/d1\/database$/, undefined],
    ['migrating', 'POST', /query$/, /CREATE TABLE organizations/],
    ['creating the namespace', 'POST', /namespaces$/, undefined],
    ['making the organisation', 'POST', /query$/, /INSERT INTO organizations/],
    ['making the entry', 'POST', /query$/, /INSERT INTO instances/],
    ['forgetting the cached copy', 'DELETE', /values/, undefined],
    ['creating a bucket', 'POST', /buckets$/, /prod-images/],
    ['setting a secret', 'PUT', /image-gen-production\/secrets$/, undefined],
    ['writing the URLs', 'POST', /query$/, /UPDATE instances/],
  ] as const;

  test.each(steps)(
    'at %s leaves work that the next run completes',
    async (_, method, path, body) => {
      bench.cloudflare.faults.push({
        method,
        path,
        ...(body === undefined ? {} : { body }),
        times: 1,
        status: 403,
        code: 10000,
        message: 'Authentication error',
      });
      const failed = await deploy();
      expect(failed.status).toBe(1);
      expect(failed.stderr).toContain('code 10000');
      expect(failed.stderr).toContain('The token lacks a permission');
      expect(failed.stderr).toContain('Run the same command again');

      expect((await deploy()).status).toBe(0);
      expect((await storedConfig()).worker_urls).toEqual({
        'image-gen': 'https://image-gen-production.example.workers.dev',
      });
      bench.cloudflare.calls.length = 0;
      expect((await deploy()).status).toBe(0);
      expect(bench.cloudflare.changes()).toEqual([]);
    },
  );

  test('of a deployment leaves no URL behind, also not one from before', async () => {
    await deploy();
    bench.cloudflare.scripts.delete('image-gen-production');
    await bench.failDeploymentsOf('image-gen-production');
    const { status, stderr } = await deploy();
    expect(status).toBe(1);
    expect(stderr).toContain('wrangler could not deploy image-gen-production');
    expect((await storedConfig()).worker_urls).toEqual({});
    await bench.failDeploymentsOf();
    expect((await deploy()).status).toBe(0);
    expect((await storedConfig()).worker_urls).toHaveProperty('image-gen');
  });

  test.each([
    [429, { 'Retry-After': '3' }, [3000, 3000]],
    [503, {}, [500, 1000]],
  ])('with %i is tried again after a pause', async (status, headers, pauses) => {
    bench.cloudflare.faults.push({
      method: 'POST',
      path: /buckets$/,
      times: 2,
      status,
      headers: headers as Record<string, string>,
    });
    expect((await deploy()).status).toBe(0);
    expect(bench.pauses).toEqual(pauses);
  });

  test('with 5xx that stays is given up after four attempts', async () => {
    bench.cloudflare.faults.push({ method: 'POST', path: /buckets$/, times: 99, status: 500 });
    const { status, stderr } = await deploy();
    expect(status).toBe(1);
    expect(stderr).toContain('Cloudflare has a fault');
    expect(bench.cloudflare.faults[0]?.times).toBe(95);
  });

  test('after which the work was done all the same does no harm', async () => {
    for (const body of [/INSERT INTO organizations/, /INSERT INTO instances/, /UPDATE instances/]) {
      bench.cloudflare.faults.push({
        method: 'POST',
        path: /query$/,
        body,
        times: 1,
        status: 502,
        afterwards: true,
      });
    }
    expect((await deploy()).status).toBe(0);
    expect((await storedConfig()).worker_urls).toHaveProperty('image-gen');
  });

  test('to reach Cloudflare at all says so', async () => {
    bench.environment.CLOUDFLARE_API_BASE_URL = 'http://127.0.0.1:1/client/v4';
    const { status, stderr } = await deploy();
    expect(status).toBe(1);
    expect(stderr).toContain('could not be reached');
    expect(stderr).not.toContain('    at ');
  });
});

describe('a dry run', () => {
  test('prints every step and changes nothing', async () => {
    const { status, stderr, stdout } = await deploy('--dry-run', '--json');
    expect(status).toBe(0);
    const { steps } = JSON.parse(stdout);
    expect(steps).toContain('create the database multiagent');
    expect(steps).toContain('apply the migration 001-initial.sql');
    expect(steps).toContain('make the entry of production');
    expect(steps).toContain('create the bucket prod-images');
    expect(steps).toContain(
      'deploy image-gen-production in the environment production: it is not deployed',
    );
    for (const step of steps) {
      expect(stderr).toContain(step);
    }
    expect(bench.cloudflare.changes()).toEqual([]);
    expect(await bench.wranglerCalls()).toEqual([]);
  });

  test('after a deployment has nothing to print', async () => {
    await deploy();
    expect(JSON.parse((await deploy('--dry-run', '--json')).stdout).steps).toEqual([]);
  });
});

describe('is refused before the first call', () => {
  test('a configuration with mistakes: all of them, each with its field', async () => {
    const path = await bench.configFile({
      instance_id: 'No Such Form',
      api_keys: { ideogram: 'env:NOT_SET' },
      rate_limits: { ideogram: { rpm: 0 } },
      r2_bucket: 'X',
      bucket: 'typo',
    });
    const { status, stderr } = await bench.run(deployInstanceCommand, '--config', path);
    expect(status).toBe(1);
    for (const field of [
      'instance_id:',
      'org_id:',
      'rate_limits.ideogram.rpm:',
      'r2_bucket:',
      'bucket:',
    ]) {
      expect(stderr).toContain(field);
    }
    expect(stderr).toContain('api_keys.ideogram: the environment variable NOT_SET is not set');
    expect(bench.cloudflare.calls).toEqual([]);
  });

  test.each([
    ['not JSON', '{ "instance_id": '],
    ['a list', '[]'],
  ])('a configuration that is %s', async (_, content) => {
    const path = await bench.configFile(content);
    expect((await bench.run(deployInstanceCommand, '--config', path)).status).toBe(1);
    expect(bench.cloudflare.calls).toEqual([]);
  });

  test('a missing account and token, both named', async () => {
    delete bench.environment.CLOUDFLARE_API_TOKEN;
    delete bench.environment.CLOUDFLARE_ACCOUNT_ID;
    const { status, stderr } = await deploy();
    expect(status).toBe(1);
    expect(stderr).toContain('CLOUDFLARE_API_TOKEN');
    expect(stderr).toContain('CLOUDFLARE_ACCOUNT_ID');
  });

  test('provider keys that could not be encrypted', async () => {
    bench.environment.PROVIDER_KEY_ENCRYPTION_KEYS = 'rubbish';
    const { status, stderr } = await deploy();
    expect(status).toBe(1);
    expect(stderr).toContain('PROVIDER_KEY_ENCRYPTION_KEYS is missing or malformed');
    expect(bench.cloudflare.calls).toEqual([]);
  });

  test('a name of a Worker that no host name can hold', async () => {
    const path = await bench.configFile({ ...CONFIG, instance_id: 'a'.repeat(60) });
    const { status, stderr } = await bench.run(deployInstanceCommand, '--config', path);
    expect(status).toBe(1);
    expect(stderr).toContain('instance_id:');
    expect(bench.cloudflare.calls).toEqual([]);
  });

  test('unknown flags and flags of other commands', async () => {
    expect((await deploy('--force')).status).toBe(1);
    expect((await deploy('--delete-objects')).stderr).toContain('no flag --delete-objects');
  });
});

describe('is refused without a change', () => {
  test('an unknown organisation that the file does not describe', async () => {
    const { organization: _, ...rest } = CONFIG;
    const path = await bench.configFile({ ...rest, org_id: 'nobody' });
    const { status, stderr } = await bench.run(deployInstanceCommand, '--config', path);
    expect(status).toBe(1);
    expect(stderr).toContain('there is no organisation nobody');
    expect(bench.cloudflare.changes()).toEqual([]);
  });

  test('an instance of another organisation', async () => {
    await deploy();
    bench.cloudflare.calls.length = 0;
    const path = await bench.configFile({ ...CONFIG, org_id: 'acme' });
    await bench.cloudflare.sql(
      "INSERT INTO organizations (org_id, name, billing_email) VALUES ('acme', 'Acme', 'a@b.c')",
    );
    const { status, stderr } = await bench.run(deployInstanceCommand, '--config', path);
    expect(status).toBe(1);
    expect(stderr).toContain('belongs to example-org');
    expect(bench.cloudflare.changes()).toEqual([]);
  });

  test('Workers whose secrets are nowhere: all of them at once', async () => {
    delete bench.environment.SERVICE_TOKEN;
    delete bench.environment.CACHE_ENCRYPTION_KEY;
    const { status, stderr } = await deploy();
    expect(status).toBe(1);
    expect(stderr).toContain('CACHE_ENCRYPTION_KEY, SERVICE_TOKEN');
    expect(bench.cloudflare.changes()).toEqual([]);
  });

  test('a token that Cloudflare does not know', async () => {
    bench.environment.CLOUDFLARE_API_TOKEN = 'wrong-token-0123456789';
    const { status, stderr } = await deploy();
    expect(status).toBe(1);
    expect(stderr).toContain('answered 401');
    expect(stderr).not.toContain('wrong-token');
  });
});

describe('secrets', () => {
  test('are in nothing that was printed, also when wrangler prints them', async () => {
    bench.useProgram();
    await bench.failDeploymentsOf('image-gen-production');
    expect((await deploy('--json')).status).toBe(1);
    await bench.failDeploymentsOf();
    await deploy('--json');
    for (const secret of [API_TOKEN, ...Object.values(SECRETS)]) {
      expect(bench.printed()).not.toContain(secret);
    }
  });

  test('are in no argument of a child, and only the token in its environment', async () => {
    bench.useProgram();
    await deploy();
    for (const { argv, environment, config } of await bench.wranglerCalls()) {
      const passed = JSON.stringify([argv, config, { ...environment, CLOUDFLARE_API_TOKEN: '' }]);
      for (const secret of [API_TOKEN, ...Object.values(SECRETS)]) {
        expect(passed).not.toContain(secret);
      }
      expect(environment.CLOUDFLARE_API_TOKEN).toBe(API_TOKEN);
    }
  });

  test('in the file itself are accepted with a warning that does not repeat them', async () => {
    const key = 'literal-provider-key-0123456789';
    const path = await bench.configFile({ ...CONFIG, api_keys: { ideogram: key } });
    const { status, stderr } = await bench.run(deployInstanceCommand, '--config', path);
    expect(status).toBe(0);
    expect(stderr).toContain('api_keys.ideogram: the key stands in the file');
    expect(stderr).not.toContain(key);
  });

  test('leave no file behind', async () => {
    await deploy();
    const left = await readdir(`${bench.projectRoot}/.wrangler/deploy`);
    expect(left).toEqual([]);
  });
});
