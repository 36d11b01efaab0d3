// Finds the Workers of the project by their configuration files, and says how each is to be deployed for an instance.
//
// What stands under `infrastructure/` or in a folder `shared` serves all instances and is deployed once, under its own name;
// every other Worker is deployed for each instance, as `<name>-<instance>`. A configuration without `main` only describes
// bindings for other Workers and is not deployed.
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import * as v from 'valibot';
import { CommandError } from './context';

const FOLDERS = ['infrastructure', 'workers'];
const CONFIGURATION_NAMES = ['wrangler.toml', 'wrangler.json', 'wrangler.jsonc'];
/** Workers that serve all instances are deployed in this environment, if they have it. */
const SHARED_ENVIRONMENT = 'production';
/** A name is a label of a host name. */
const NAME_CHARACTERS_MAX = 63;

const SectionEntries = {
  d1_databases: v.optional(
    v.array(
      v.looseObject({
        binding: v.string(),
        database_name: v.optional(v.string()),
        database_id: v.optional(v.string()),
        migrations_dir: v.optional(v.string()),
      }),
    ),
    [],
  ),
  kv_namespaces: v.optional(
    v.array(v.looseObject({ binding: v.string(), id: v.optional(v.string()) })),
    [],
  ),
  r2_buckets: v.optional(
    v.array(v.looseObject({ binding: v.string(), bucket_name: v.optional(v.string()) })),
    [],
  ),
  services: v.optional(v.array(v.looseObject({ binding: v.string(), service: v.string() })), []),
  durable_objects: v.optional(
    v.looseObject({
      bindings: v.optional(
        v.array(
          v.looseObject({
            name: v.string(),
            class_name: v.string(),
            script_name: v.optional(v.string()),
          }),
        ),
        [],
      ),
    }),
    { bindings: [] },
  ),
  vars: v.optional(v.record(v.string(), v.unknown()), {}),
  routes: v.optional(v.array(v.unknown()), []),
  // These an environment inherits where it does not have its own.
  compatibility_flags: v.optional(v.array(v.string())),
  triggers: v.optional(v.looseObject({ crons: v.optional(v.array(v.string()), []) })),
  secrets: v.optional(v.looseObject({ required: v.optional(v.array(v.string()), []) })),
};
const Section = v.looseObject(SectionEntries);
export type Section = v.InferOutput<typeof Section>;

const RawConfig = v.looseObject({
  ...SectionEntries,
  name: v.optional(v.string()),
  main: v.optional(v.string()),
  compatibility_date: v.optional(v.string()),
  compatibility_flags: v.optional(v.array(v.string()), []),
  triggers: v.optional(v.looseObject({ crons: v.optional(v.array(v.string()), []) }), {
    crons: [],
  }),
  migrations: v.optional(
    v.array(v.looseObject({ new_sqlite_classes: v.optional(v.array(v.string()), []) })),
    [],
  ),
  env: v.optional(v.record(v.string(), Section), {}),
});
export type RawConfig = v.InferOutput<typeof RawConfig>;

export interface Worker {
  /** What the entry's `worker_urls` call it, and what its deployments are named after. */
  type: string;
  /** The folder of its configuration, absolute. */
  folder: string;
  configPath: string;
  /** For messages: relative to the project. */
  shownPath: string;
  raw: RawConfig;
  shared: boolean;
}

/** A Worker as it is deployed for one instance, or for all of them. */
export interface Deployable {
  worker: Worker;
  name: string;
  /** The named environment of its configuration; null: the top level. */
  environment: string | null;
  /** The bindings of that environment. */
  section: Section;
}

async function findConfigurations(folder: string): Promise<string[]> {
  if (!existsSync(folder)) {
    return [];
  }
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile() && CONFIGURATION_NAMES.includes(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter(
      (path) => !path.split(sep).some((part) => part === 'node_modules' || part === '.wrangler'),
    )
    .sort();
}

/** Wrangler's own reader, so that what it accepts is accepted. */
async function readRawConfig(path: string): Promise<unknown> {
  const { experimental_readRawConfig } = await import('wrangler');
  return experimental_readRawConfig({ config: path }).rawConfig;
}

async function readWorker(projectRoot: string, configPath: string): Promise<Worker | null> {
  const shownPath = relative(projectRoot, configPath);
  let content: unknown;
  try {
    content = await readRawConfig(configPath);
  } catch (error) {
    throw new CommandError(
      `${shownPath}: ${error instanceof Error ? error.message : 'unreadable'}`,
    );
  }
  const result = v.safeParse(RawConfig, content);
  if (!result.success) {
    const [issue] = result.issues;
    throw new CommandError(`${shownPath}: ${v.getDotPath(issue) ?? ''}: ${issue.message}`);
  }
  const raw = result.output;
  if (raw.main === undefined) {
    return null;
  }
  if (raw.name === undefined) {
    throw new CommandError(`${shownPath}: has main, but no name`);
  }
  const parts = shownPath.split(sep);
  return {
    type: raw.name,
    folder: join(configPath, '..'),
    configPath,
    shownPath,
    raw,
    shared: parts[0] === 'infrastructure' || parts.slice(0, -1).includes('shared'),
  };
}

/** The Workers of the project, those that others are bound to first. */
export async function discoverWorkers(projectRoot: string): Promise<Worker[]> {
  const paths = (
    await Promise.all(FOLDERS.map((folder) => findConfigurations(join(projectRoot, folder))))
  ).flat();
  const workers: Worker[] = [];
  for (const path of paths) {
    const worker = await readWorker(projectRoot, path);
    if (worker !== null) {
      workers.push(worker);
    }
  }
  const names = new Map<string, Worker>();
  for (const worker of workers) {
    const other = names.get(worker.type);
    if (other !== undefined) {
      throw new CommandError(
        `${other.shownPath} and ${worker.shownPath} have the same name: ${worker.type}`,
      );
    }
    names.set(worker.type, worker);
  }
  // A service binding needs its target to be there.
  return [...workers.filter(({ shared }) => shared), ...workers.filter(({ shared }) => !shared)];
}

function deployableOf(worker: Worker, name: string, wanted: string): Deployable {
  const own = worker.raw.env[wanted];
  return own === undefined
    ? { worker, name, environment: null, section: worker.raw }
    : { worker, name, environment: wanted, section: own };
}

/** The Workers that all instances share, as they are deployed. */
export function sharedDeployables(workers: readonly Worker[]): Deployable[] {
  return workers
    .filter(({ shared }) => shared)
    .map((worker) => {
      const own = worker.raw.env[SHARED_ENVIRONMENT];
      // As wrangler names it: an environment has its own name or that of the Worker with its own appended.
      const name =
        own === undefined
          ? worker.type
          : typeof own.name === 'string'
            ? own.name
            : `${worker.type}-${SHARED_ENVIRONMENT}`;
      return deployableOf(worker, name, SHARED_ENVIRONMENT);
    });
}

/** The Workers of one instance, as they are deployed. */
export function instanceDeployables(workers: readonly Worker[], instanceId: string): Deployable[] {
  return workers
    .filter(({ shared }) => !shared)
    .map((worker) => {
      const name = `${worker.type}-${instanceId}`;
      if (name.length > NAME_CHARACTERS_MAX) {
        throw new CommandError(
          `instance_id: the Worker's name ${name} would be longer than ${NAME_CHARACTERS_MAX} characters`,
        );
      }
      return deployableOf(worker, name, instanceId);
    });
}

/** The name of the binding under which a Worker looks for this bucket. */
export function bucketBinding(bucket: string): string {
  return `IMAGES_${bucket.toUpperCase().replaceAll('-', '_')}`;
}

/** The buckets that the deployed Worker is bound to. */
export function bucketsOf({ section }: Deployable): string[] {
  return section.r2_buckets.flatMap(({ bucket_name: name }) => (name === undefined ? [] : [name]));
}

/** When the scheduled handler of the deployed Worker runs. */
export function cronsOf({ worker, section }: Deployable): string[] {
  return (section.triggers ?? worker.raw.triggers)?.crons ?? [];
}

/** The secrets that a Worker cannot do without: those that its configuration lists, else those of the architecture. */
export function secretsOf({ worker, section }: Deployable): string[] {
  const listed = section.secrets?.required ?? worker.raw.secrets?.required;
  if (listed !== undefined) {
    return listed;
  }
  if (section.services.some(({ binding }) => binding === 'CONFIG_SERVICE')) {
    return ['SERVICE_TOKEN', 'CACHE_ENCRYPTION_KEY'];
  }
  return worker.type === 'config-service' ? ['PROVIDER_KEY_ENCRYPTION_KEYS', 'SERVICE_TOKEN'] : [];
}
