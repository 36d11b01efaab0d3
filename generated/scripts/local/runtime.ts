// From the configuration files of the Workers to the options of the local runtime: what wrangler does for `wrangler dev`, for
// all Workers at once.
import { Miniflare, type MiniflareOptions, type WorkerOptions } from 'miniflare';
import { CommandError } from '../deployment/context';
import { type Deployable, secretsOf } from '../deployment/workers';
import { withBucket } from '../deployment/wrangler-config';
import type { Bundle } from './bundle';
import type { LocalSecrets } from './storage';

const COMPATIBILITY_DATE = '2026-04-01';

export interface LocalWorker {
  deployable: Deployable;
  bundle: Bundle;
  /** Of the instance; null for Workers that all share. */
  bucket: string | null;
  port: number;
}

export interface RuntimeSettings {
  secrets: LocalSecrets;
  /** Replace the variables of the configuration files. */
  variables: Readonly<Record<string, string>>;
  /** `127.0.0.1:<port>` of what stands in for the network. */
  outbound: string;
}

function secretsFor(deployable: Deployable, secrets: LocalSecrets): Record<string, string> {
  const known: Readonly<Record<string, string>> = secrets;
  return Object.fromEntries(
    secretsOf(deployable).map((name) => {
      const value = known[name];
      if (value === undefined) {
        throw new CommandError(
          `${deployable.worker.shownPath}: needs the secret ${name}, which the local system does not know`,
        );
      }
      return [name, value];
    }),
  );
}

function serviceBindings(
  { worker, section }: Deployable,
  names: ReadonlySet<string>,
): Record<string, string> {
  return Object.fromEntries(
    section.services.map(({ binding, service }) => {
      if (!names.has(service)) {
        throw new CommandError(
          `${worker.shownPath}: binds ${binding} to the Worker ${service}, and there is none of this name`,
        );
      }
      return [binding, service];
    }),
  );
}

function durableObjects(
  { worker, section }: Deployable,
  bundle: Bundle,
  names: ReadonlySet<string>,
): NonNullable<WorkerOptions['durableObjects']> {
  const sqlite = new Set(worker.raw.migrations.flatMap((one) => one.new_sqlite_classes));
  return Object.fromEntries(
    section.durable_objects.bindings.map(({ name, class_name, script_name }) => {
      if (script_name !== undefined) {
        if (!names.has(script_name)) {
          throw new CommandError(
            `${worker.shownPath}: binds ${name} to the Worker ${script_name}, and there is none of this name`,
          );
        }
        return [name, { className: class_name, scriptName: script_name, useSQLite: true }];
      }
      if (!bundle.exports.includes(class_name)) {
        throw new CommandError(
          `${worker.shownPath}: binds ${name} to the class ${class_name}, which ${worker.raw.main} does not export`,
        );
      }
      if (!sqlite.has(class_name)) {
        throw new CommandError(
          `${worker.shownPath}: no migration names the class ${class_name} among its new_sqlite_classes`,
        );
      }
      return [name, { className: class_name, useSQLite: true }];
    }),
  );
}

function workerOptions(
  { deployable, bundle, bucket, port }: LocalWorker,
  names: ReadonlySet<string>,
  { secrets, variables, outbound }: RuntimeSettings,
): WorkerOptions {
  const { worker, name } = deployable;
  const section = withBucket(deployable.section, bucket);
  const variablesOf = Object.fromEntries(
    Object.entries(section.vars).map(([key, value]) => [
      key,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  );
  return {
    name,
    modules: [{ type: 'ESModule', path: `${name}.js`, contents: bundle.code }],
    compatibilityDate: worker.raw.compatibility_date ?? COMPATIBILITY_DATE,
    compatibilityFlags: section.compatibility_flags ?? worker.raw.compatibility_flags ?? [],
    bindings: { ...variablesOf, ...variables, ...secretsFor(deployable, secrets) },
    d1Databases: Object.fromEntries(
      section.d1_databases.map(({ binding, database_name }) => [binding, database_name ?? binding]),
    ),
    kvNamespaces: Object.fromEntries(
      section.kv_namespaces.map(({ binding }) => [binding, binding]),
    ),
    r2Buckets: Object.fromEntries(
      section.r2_buckets.map(({ binding, bucket_name }) => [binding, bucket_name ?? binding]),
    ),
    serviceBindings: serviceBindings(deployable, names),
    durableObjects: durableObjects(deployable, bundle, names),
    outboundService: { external: { address: outbound, http: {} } },
    unsafeDirectSockets: [{ host: '127.0.0.1', port }],
  };
}

export function runtimeWorkers(
  workers: readonly LocalWorker[],
  settings: RuntimeSettings,
): WorkerOptions[] {
  const names = new Set(workers.map(({ deployable }) => deployable.name));
  return workers.map((worker) => workerOptions(worker, names, settings));
}

export async function startRuntime(options: MiniflareOptions): Promise<Miniflare> {
  const runtime = new Miniflare(options);
  try {
    await runtime.ready;
    return runtime;
  } catch (error) {
    await runtime.dispose().catch(() => {});
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`the local runtime did not start: ${reason}`);
  }
}

/** Hands each line that the Workers print to `log`. */
export function forwardLines(log: (line: string) => void): (stream: NodeJS.ReadableStream) => void {
  return (stream) => {
    let rest = '';
    stream.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString('utf8')).split('\n');
      rest = lines.pop() ?? '';
      lines.filter((line) => line.trim() !== '').forEach(log);
    });
  };
}
