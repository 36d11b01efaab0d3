// Where the parts meet without seeing each other: names in configuration files, exports, and who reads what.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { experimental_readRawConfig } from 'wrangler';

const root = fileURLToPath(new URL('../..', import.meta.url));

interface Section {
  durable_objects?: { bindings: { name: string; class_name: string }[] };
  d1_databases?: { binding: string; database_name: string }[];
  kv_namespaces?: { binding: string }[];
  r2_buckets?: { binding: string; bucket_name: string }[];
  services?: { binding: string; service: string }[];
  vars?: Record<string, unknown>;
}

interface Configuration extends Section {
  name: string;
  main?: string;
  migrations?: { tag: string; new_sqlite_classes: string[] }[];
  triggers?: { crons: string[] };
  env?: Record<string, Section & { name: string }>;
}

function configurationOf(folder: string): Configuration {
  const path = join(root, folder, 'wrangler.toml');
  // Wrangler's own reader, so that what it makes of the file is what is looked at.
  return experimental_readRawConfig({ config: path }).rawConfig as Configuration;
}

/** All sources below the folder, with their text. */
function sources(folder: string): [path: string, text: string][] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => [path, readFileSync(join(root, folder, path), 'utf8')]);
}

const imageGen = configurationOf('workers/image-gen');
const limiter = configurationOf('workers/shared/rate-limiter');
const configService = configurationOf('infrastructure/config-service');
const environments = imageGen.env ?? {};

describe('the configuration of the image-generation Worker', () => {
  test('has an environment for each instance of the seed data, and the same bindings in each', () => {
    expect(Object.keys(environments)).toEqual(['production', 'development']);
    for (const [name, section] of Object.entries(environments)) {
      expect(section.name).toBe(`image-gen-${name}`);
      expect(section.durable_objects).toEqual(imageGen.durable_objects);
      expect(section.d1_databases).toEqual(imageGen.d1_databases);
      expect(section.kv_namespaces).toEqual(imageGen.kv_namespaces);
      expect(section.services).toEqual(imageGen.services);
      expect(Object.keys(section.vars ?? {})).toEqual(Object.keys(imageGen.vars ?? {}));
      expect(section.r2_buckets?.map(({ binding }) => binding)).toEqual([
        'IMAGES',
        `IMAGES_${name.toUpperCase()}_IMAGES`,
      ]);
    }
  });

  test('has what the architecture lists, and no secret', () => {
    const names = [
      ...(imageGen.durable_objects?.bindings ?? []).map(({ name }) => name),
      ...[imageGen.d1_databases, imageGen.kv_namespaces, imageGen.r2_buckets, imageGen.services]
        .flatMap((list): { binding: string }[] => list ?? [])
        .map(({ binding }) => binding),
    ];
    expect(names.toSorted()).toEqual([
      'CIRCUIT_BREAKER',
      'CONFIG_CACHE',
      'CONFIG_SERVICE',
      'DB',
      'IMAGES',
      'JOBS',
      'LOG_BUFFER',
      'RATE_LIMITER',
    ]);
    const variables = Object.keys(imageGen.vars ?? {});
    expect(variables).toContain('GENERATION_TIMEOUT_MS');
    expect(variables.filter((name) => /KEY|TOKEN|SECRET/.test(name))).toEqual([]);
  });

  test('agrees with the rate limiter about binding, class and storage', () => {
    for (const binding of limiter.durable_objects?.bindings ?? []) {
      expect(imageGen.durable_objects?.bindings).toContainEqual(binding);
    }
    const classes = (configuration: Configuration) =>
      (configuration.migrations ?? []).flatMap(({ new_sqlite_classes }) => new_sqlite_classes);
    expect(classes(limiter)).toEqual(['RateLimiter']);
    expect(classes(imageGen)).toEqual(expect.arrayContaining(classes(limiter)));
    // It is the Worker's class, not a script of its own.
    expect(limiter.main).toBeUndefined();
  });

  test('agrees with the Config Service about database, cache and name', () => {
    expect(imageGen.d1_databases?.[0]).toMatchObject({
      binding: 'DB',
      database_name: configService.d1_databases?.[0]?.database_name,
    });
    expect(imageGen.kv_namespaces).toEqual(configService.kv_namespaces);
    expect(imageGen.services).toEqual([{ binding: 'CONFIG_SERVICE', service: configService.name }]);
  });

  test('names only classes that the Worker exports, each with storage of its own', () => {
    const [, entry = ''] =
      sources('workers/image-gen').find(([path]) => path === imageGen.main) ?? [];
    const exported = [...entry.matchAll(/^export \{ (\w+) \} from/gm)].map(([, name]) => name);
    const bound = (imageGen.durable_objects?.bindings ?? []).map(({ class_name }) => class_name);
    expect(exported.toSorted()).toEqual(bound.toSorted());
    expect(imageGen.migrations?.[0]?.new_sqlite_classes.toSorted()).toEqual(bound.toSorted());
  });

  test('deletes old log entries by a schedule', () => {
    expect(imageGen.triggers?.crons).toHaveLength(1);
  });
});

describe('the sources of the Workers', () => {
  const all = sources('workers');

  test('read no configuration from the database', () => {
    const readers = all.filter(([, text]) =>
      /\bgetInstanceById\b|\blistInstances\b|SELECT[^;`]*\bconfig\b/i.test(text),
    );
    expect(readers.map(([path]) => path)).toEqual([]);
  });

  test('have one way to authenticate and to look up', () => {
    const users = (module: string) =>
      all.filter(([, text]) => text.includes(`from '@/infrastructure/${module}'`));
    expect(users('auth/middleware').map(([path]) => path)).toEqual(['image-gen/access.ts']);
    expect(users('lookup/instance-resolver').map(([path]) => path)).toEqual([
      'image-gen/access.ts',
    ]);
  });

  test('know Ideogram in its adapter and the registry alone', () => {
    const knowing = all.filter(([, text]) =>
      /ideogram/i.test(text.replaceAll(/\/\/.*|\/?\*.*/g, '')),
    );
    expect(knowing.map(([path]) => path).toSorted()).toEqual([
      'shared/provider-adapters/ideogram-adapter.ts',
      'shared/provider-adapters/ideogram-families.ts',
      'shared/provider-adapters/registry.ts',
    ]);
  });
});
