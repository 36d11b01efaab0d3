// This machine as a target: wrangler's local runtime and storage instead of an account. `npm run dev -- --state DIRECTORY`
// runs what was deployed here.
import { Miniflare } from 'miniflare';
import { unstable_splitSqlQuery } from 'wrangler';
import type { Target } from '../deployment/target';
import type { Deployable } from '../deployment/workers';
import { bundleWorker } from './bundle';
import {
  type LocalSecrets,
  localSecrets,
  persistOptions,
  readDeployments,
  writeDeployments,
} from './storage';

/** The ports that deployed Workers get, one after the other. */
const FIRST_PORT = 8790;
const COMPATIBILITY_DATE = '2026-04-01';

export interface StorageNames {
  databases: readonly string[];
  namespaces: readonly string[];
}

/** A runtime without a Worker, only to reach the storage. Every binding is called as what it leads to. */
async function openStorage(
  state: string,
  { databases, namespaces }: StorageNames,
): Promise<Miniflare> {
  return new Miniflare({
    modules: true,
    script: 'export default { fetch: () => new Response(null, { status: 404 }) };',
    compatibilityDate: COMPATIBILITY_DATE,
    host: '127.0.0.1',
    port: 0,
    ...persistOptions(state),
    d1Databases: [...databases],
    kvNamespaces: [...namespaces],
    r2Buckets: (await readDeployments(state)).buckets,
  });
}

export async function openLocalTarget(
  state: string,
  projectRoot: string,
  names: StorageNames,
): Promise<{ target: Target; secrets: LocalSecrets }> {
  const secrets = await localSecrets(state);
  let opened: Promise<Miniflare> | null = null;
  const storage = () => {
    opened ??= openStorage(state, names);
    return opened;
  };
  const database = async (name: string) =>
    // The types of miniflare's proxies and of the Workers are the same by intention and not by name.
    (await (await storage()).getD1Database(name)) as unknown as D1Database;
  const bucket = async (name: string) => await (await storage()).getR2Bucket(name);

  const change = async (edit: (value: Awaited<ReturnType<typeof readDeployments>>) => void) => {
    const value = await readDeployments(state);
    edit(value);
    await writeDeployments(state, value);
  };
  /** Ports that were given away but not written down yet. */
  const reserved = new Map<string, number>();
  const portOf = async (name: string) => {
    const { workers } = await readDeployments(state);
    const known = workers[name]?.port ?? reserved.get(name);
    if (known !== undefined) {
      return known;
    }
    const taken = new Set([
      ...Object.values(workers).map(({ port }) => port),
      ...reserved.values(),
    ]);
    let port = FIRST_PORT;
    while (taken.has(port)) {
      port += 1;
    }
    reserved.set(name, port);
    return port;
  };

  const target: Target = {
    description: `the local system in ${state}`,
    // A local database comes to be when it is first asked.
    database,
    createDatabase: database,
    async runScript(databaseName, sql) {
      const opened_ = await database(databaseName);
      await opened_.batch(
        unstable_splitSqlQuery(sql).map((statement) => opened_.prepare(statement)),
      );
    },
    hasNamespace: () => Promise.resolve(true),
    createNamespace: () => Promise.resolve(),
    async deleteEntry(namespaceName, entry) {
      const namespace = await (await storage()).getKVNamespace(namespaceName);
      await namespace.delete(entry);
    },
    hasBucket: async (name) => (await readDeployments(state)).buckets.includes(name),
    createBucket: (name) => change(({ buckets }) => void buckets.push(name)),
    isBucketEmpty: async (name) =>
      (await (await bucket(name)).list({ limit: 1 })).objects.length === 0,
    async emptyBucket(name) {
      const opened_ = await bucket(name);
      let deleted = 0;
      for (;;) {
        const keys = (await opened_.list()).objects.map(({ key }) => key);
        if (keys.length === 0) {
          return deleted;
        }
        await opened_.delete(keys);
        deleted += keys.length;
      }
    },
    deleteBucket: (name) =>
      change((value) => {
        value.buckets = value.buckets.filter((present) => present !== name);
      }),
    workerNames: async () => new Set(Object.keys((await readDeployments(state)).workers)),
    async deployment(name) {
      const present = (await readDeployments(state)).workers[name];
      return present === undefined ? null : { message: present.message };
    },
    configFor: ({ name, section }: Deployable, bucketName) => ({ name, section, bucketName }),
    async deploy({ worker, name }, _config, message) {
      // The bundle itself is made again when the system starts; that it can be made is found out here.
      await bundleWorker(worker, projectRoot);
      const port = await portOf(name);
      await change(({ workers }) => {
        workers[name] = { message, port };
      });
    },
    deleteWorker: (name) =>
      change((value) => {
        delete value.workers[name];
      }),
    secretNames: () => Promise.resolve(new Set(Object.keys(secrets))),
    putSecret: () => Promise.resolve(),
    urlOf: async ({ name }) => `http://127.0.0.1:${await portOf(name)}`,
    async close() {
      await (await opened)?.dispose();
    },
  };
  return { target, secrets };
}
