// Where a local system keeps its state: databases, namespaces, buckets and Durable Objects in the folders of one directory,
// its secrets and its list of deployments in files next to them.
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { CommandError } from '../deployment/context';

const Secrets = v.object({
  PROVIDER_KEY_ENCRYPTION_KEYS: v.string(),
  SERVICE_TOKEN: v.string(),
  CACHE_ENCRYPTION_KEY: v.string(),
});
export type LocalSecrets = v.InferOutput<typeof Secrets>;

const Deployments = v.object({
  buckets: v.array(v.string()),
  workers: v.record(
    v.string(),
    v.object({ message: v.string(), port: v.pipe(v.number(), v.integer()) }),
  ),
});
export type LocalDeployments = v.InferOutput<typeof Deployments>;

export interface PersistOptions {
  d1Persist: string;
  kvPersist: string;
  r2Persist: string;
  durableObjectsPersist: string;
}

/** Where miniflare keeps each kind of storage. */
export function persistOptions(state: string): PersistOptions {
  return {
    d1Persist: join(state, 'd1'),
    kvPersist: join(state, 'kv'),
    r2Persist: join(state, 'r2'),
    durableObjectsPersist: join(state, 'do'),
  };
}

export async function readJson<Schema extends v.GenericSchema>(
  path: string,
  schema: Schema,
): Promise<v.InferOutput<Schema> | null> {
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) {
    return null;
  }
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), text);
  if (!result.success) {
    throw new CommandError(`${path} is damaged: delete the state's directory and start anew`);
  }
  return result.output;
}

/** Whoever is stopped in the middle leaves the old file or the new one, never a half. */
export async function writeJson(path: string, value: object): Promise<void> {
  const temporary = `${path}.${process.pid}`;
  await writeFile(temporary, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  await rename(temporary, path);
}

/** The secrets of this local system, made when it is first opened. They protect nothing outside it. */
export async function localSecrets(state: string): Promise<LocalSecrets> {
  await mkdir(state, { recursive: true });
  const path = join(state, 'secrets.json');
  const present = await readJson(path, Secrets);
  if (present !== null) {
    return present;
  }
  const made = {
    PROVIDER_KEY_ENCRYPTION_KEYS: `local:${randomBytes(32).toString('base64')}`,
    SERVICE_TOKEN: randomBytes(32).toString('hex'),
    CACHE_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
  };
  await writeJson(path, made);
  return made;
}

export async function readDeployments(state: string): Promise<LocalDeployments> {
  return (
    (await readJson(join(state, 'deployments.json'), Deployments)) ?? { buckets: [], workers: {} }
  );
}

export async function writeDeployments(state: string, value: LocalDeployments): Promise<void> {
  await writeJson(join(state, 'deployments.json'), value);
}
