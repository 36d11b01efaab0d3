// The configuration that a Worker is really deployed with: its own, with the ids of this account's database and namespace,
// and with the instance's bucket bound. It is written where nobody commits it; hence all paths in it are absolute.
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import { bucketBinding, type Deployable, type Section } from './workers';

/** From the names in the configuration files to the ids in the account. */
export interface ResourceIds {
  databases: ReadonlyMap<string, string>;
  namespaces: ReadonlyMap<string, string>;
}

/** The placeholders of the committed files: zeros. Anything else was put there by somebody who knows it. */
export function isPlaceholder(id: string | undefined): boolean {
  return id === undefined || /^[0-]*$/.test(id);
}

function absolute(folder: string, path: string): string {
  return isAbsolute(path) ? path : resolve(folder, path);
}

function withIds(section: Section, folder: string, ids: ResourceIds): Section {
  return {
    ...section,
    d1_databases: section.d1_databases.map((database) => ({
      ...database,
      ...(isPlaceholder(database.database_id)
        ? { database_id: ids.databases.get(database.database_name ?? '') }
        : {}),
      ...(database.migrations_dir === undefined
        ? {}
        : { migrations_dir: absolute(folder, database.migrations_dir) }),
    })),
    kv_namespaces: section.kv_namespaces.map((namespace) => ({
      ...namespace,
      ...(isPlaceholder(namespace.id) ? { id: ids.namespaces.get(namespace.binding) } : {}),
    })),
  };
}

/** The section with the bucket of the instance bound, under the name by which the Worker looks for it. */
export function withBucket(section: Section, bucket: string | null): Section {
  if (bucket === null || section.r2_buckets.length === 0) {
    // A Worker that is bound to no bucket at all has no use for one.
    return section;
  }
  const binding = bucketBinding(bucket);
  return section.r2_buckets.some((present) => present.binding === binding)
    ? section
    : { ...section, r2_buckets: [...section.r2_buckets, { binding, bucket_name: bucket }] };
}

/** Bindings and everything else of the deployed section, as wrangler is to read it. */
export function configFor(
  { worker, environment, name, section }: Deployable,
  ids: ResourceIds,
  bucket: string | null,
): Record<string, unknown> {
  const { folder, raw } = worker;
  const deployed = withBucket(withIds(section, folder, ids), bucket);
  const common = {
    ...raw,
    name,
    main: absolute(folder, raw.main ?? ''),
    ...(typeof raw.tsconfig === 'string' ? { tsconfig: absolute(folder, raw.tsconfig) } : {}),
  };
  if (environment === null) {
    return { ...common, ...deployed, name, main: common.main, env: {} };
  }
  return { ...common, env: { [environment]: { ...deployed, name } } };
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** Changes when anything about the deployment but the code changes. The project's place on disk has no part in it. */
export function configFingerprint(config: Record<string, unknown>, projectRoot: string): string {
  return shortHash(
    JSON.stringify(config, (_, value: unknown) =>
      typeof value === 'string' && isAbsolute(value)
        ? relative(projectRoot, value).split(sep).join('/')
        : value,
    ),
  );
}

/** Changes when any source that a Worker could be built from changes: a deployment too many does no harm, one too few does. */
export async function sourcesFingerprint(projectRoot: string): Promise<string> {
  const hash = createHash('sha256');
  const paths: string[] = ['package-lock.json'];
  for (const folder of ['infrastructure', 'workers']) {
    const entries = await readdir(join(projectRoot, folder), {
      withFileTypes: true,
      recursive: true,
    }).catch(() => []);
    for (const entry of entries) {
      const path = join(relative(projectRoot, entry.parentPath), entry.name);
      const isHidden = path
        .split(sep)
        .some((part) => part.startsWith('.') || part === 'node_modules');
      if (entry.isFile() && !isHidden && /\.(ts|js|mjs|json|wasm)$/.test(entry.name)) {
        paths.push(path);
      }
    }
  }
  for (const path of paths.sort()) {
    const content = await readFile(join(projectRoot, path)).catch(() => null);
    if (content !== null) {
      hash.update(`${path.split(sep).join('/')}\0${content.byteLength}\0`).update(content);
    }
  }
  return hash.digest('hex').slice(0, 16);
}

/** What stands as the message of a deployment, so that the next run knows what is deployed. */
export interface Fingerprints {
  config: string;
  sources: string;
}

export function deploymentMessage({ config, sources }: Fingerprints): string {
  return `config ${config} sources ${sources}`;
}

export function readDeploymentMessage(message: string): Fingerprints | null {
  const [, config, sources] = /^config ([0-9a-f]{16}) sources ([0-9a-f]{16})$/.exec(message) ?? [];
  return config === undefined || sources === undefined ? null : { config, sources };
}
