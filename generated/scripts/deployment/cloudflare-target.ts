// An account at Cloudflare: databases, namespaces, buckets and secrets through the API, Workers through wrangler.
import * as v from 'valibot';
import type { Account } from './arguments';
import { type CloudflareApi, CloudflareError, createCloudflareApi } from './cloudflare-api';
import { type CommandContext, CommandError } from './context';
import { createRemoteDatabase, queryRemote } from './remote-database';
import type { Reporter } from './reporter';
import type { Target } from './target';
import type { Deployable } from './workers';
import { wranglerDeploy } from './wrangler';
import { configFor, isPlaceholder } from './wrangler-config';

/** Objects are deleted one by one, so many at a time. */
const DELETIONS_AT_ONCE = 8;
const PER_PAGE = 100;

const Named = v.array(v.looseObject({ uuid: v.string(), name: v.string() }));
const Titled = v.array(v.looseObject({ id: v.string(), title: v.string() }));
const Scripts = v.array(v.looseObject({ id: v.string() }));
const Secrets = v.array(v.looseObject({ name: v.string() }));
const Objects = v.array(v.looseObject({ key: v.string() }));
const Subdomain = v.looseObject({ subdomain: v.pipe(v.string(), v.minLength(1)) });
const Annotated = v.looseObject({
  annotations: v.optional(v.looseObject({ 'workers/message': v.optional(v.string()) }), {}),
});
const Deployments = v.looseObject({
  deployments: v.array(
    v.looseObject({
      ...Annotated.entries,
      versions: v.optional(v.array(v.looseObject({ version_id: v.string() })), []),
    }),
  ),
});

function checked<Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
  what: string,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value);
  if (!result.success) {
    throw new CommandError(`Cloudflare answered with something that is no ${what}`);
  }
  return result.output;
}

/** True if Cloudflare says that there is none, which is what a deletion wants. */
function isMissing(error: unknown): boolean {
  return error instanceof CloudflareError && error.status === 404;
}

async function unlessMissing(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isMissing(error)) {
      throw error;
    }
  }
}

/** The slashes of a key are those of the path; everything else in it is escaped. */
function objectPath(key: string): string {
  return key.split('/').map(encodeURIComponent).join('/');
}

/** All pages of a list that is numbered. */
async function allPages<Item>(
  api: CloudflareApi,
  path: string,
  read: (result: unknown) => Item[],
): Promise<Item[]> {
  const items: Item[] = [];
  for (let page = 1; ; page += 1) {
    const separator = path.includes('?') ? '&' : '?';
    const { result } = await api.call(
      'GET',
      `${path}${separator}page=${page}&per_page=${PER_PAGE}`,
    );
    const found = read(result);
    items.push(...found);
    if (found.length < PER_PAGE) {
      return items;
    }
  }
}

export interface CloudflareTargetOptions {
  context: CommandContext;
  account: Account;
  reporter: Reporter;
  /** Ids that stand in the configuration files instead of placeholders. */
  knownDatabases: ReadonlyMap<string, string>;
  knownNamespaces: ReadonlyMap<string, string>;
}

/** The ids that somebody has written into the configuration files. */
export function knownIds(deployables: readonly Deployable[]): {
  knownDatabases: Map<string, string>;
  knownNamespaces: Map<string, string>;
} {
  const knownDatabases = new Map<string, string>();
  const knownNamespaces = new Map<string, string>();
  for (const { section } of deployables) {
    for (const { database_name: name, database_id: id } of section.d1_databases) {
      if (name !== undefined && id !== undefined && !isPlaceholder(id)) {
        knownDatabases.set(name, id);
      }
    }
    for (const { binding, id } of section.kv_namespaces) {
      if (id !== undefined && !isPlaceholder(id)) {
        knownNamespaces.set(binding, id);
      }
    }
  }
  return { knownDatabases, knownNamespaces };
}

function customDomainOf({ section }: Deployable): string | null {
  for (const entry of section.routes) {
    const route = v.safeParse(
      v.looseObject({ pattern: v.string(), custom_domain: v.literal(true) }),
      entry,
    );
    if (route.success) {
      return route.output.pattern;
    }
  }
  return null;
}

export function createCloudflareTarget({
  context,
  account,
  reporter,
  knownDatabases,
  knownNamespaces,
}: CloudflareTargetOptions): Target {
  const api = createCloudflareApi({
    account,
    baseUrl: context.environment.CLOUDFLARE_API_BASE_URL,
    pause: context.pause,
  });
  const databases = new Map(knownDatabases);
  const namespaces = new Map(knownNamespaces);
  let subdomain: Promise<string> | null = null;

  const findSubdomain = async () => {
    const { result } = await api.call('GET', '/workers/subdomain');
    return checked(Subdomain, result, 'subdomain').subdomain;
  };
  const databaseId = (name: string) => {
    const id = databases.get(name);
    if (id === undefined) {
      throw new Error(`the database ${name} was used before it was looked for`);
    }
    return id;
  };
  const hasNamespace = async (name: string) => {
    if (!namespaces.has(name)) {
      const found = await allPages(api, '/storage/kv/namespaces', (result) =>
        checked(Titled, result, 'list of namespaces'),
      );
      const id = found.find(({ title }) => title === name)?.id;
      if (id !== undefined) {
        namespaces.set(name, id);
      }
    }
    return namespaces.has(name);
  };
  const bucketPath = (name: string) => `/r2/buckets/${encodeURIComponent(name)}`;
  const firstObjects = async (name: string, count: number) =>
    checked(
      Objects,
      (await api.call('GET', `${bucketPath(name)}/objects?per_page=${count}`)).result,
      'list of objects',
    ).map(({ key }) => key);

  return {
    description: `the Cloudflare account ${account.id}`,
    async database(name) {
      if (!databases.has(name)) {
        const found = await allPages(
          api,
          `/d1/database?name=${encodeURIComponent(name)}`,
          (result) => checked(Named, result, 'list of databases'),
        );
        // The filter of the API finds parts of names as well.
        const id = found.find((database) => database.name === name)?.uuid;
        if (id !== undefined) {
          databases.set(name, id);
        }
      }
      return databases.has(name) ? createRemoteDatabase(api, databaseId(name)) : null;
    },
    async createDatabase(name) {
      const { result } = await api.call('POST', '/d1/database', { name });
      const { uuid } = checked(v.looseObject({ uuid: v.string() }), result, 'database');
      databases.set(name, uuid);
      return createRemoteDatabase(api, uuid);
    },
    async runScript(databaseName, sql) {
      await queryRemote(api, databaseId(databaseName), sql);
    },
    hasNamespace,
    async createNamespace(name) {
      const { result } = await api.call('POST', '/storage/kv/namespaces', { title: name });
      namespaces.set(name, checked(v.looseObject({ id: v.string() }), result, 'namespace').id);
    },
    async deleteEntry(namespaceName, entry) {
      if (await hasNamespace(namespaceName)) {
        const id = namespaces.get(namespaceName) ?? '';
        await unlessMissing(
          api.call('DELETE', `/storage/kv/namespaces/${id}/values/${encodeURIComponent(entry)}`),
        );
      }
    },
    hasBucket: async (name) => (await api.find(bucketPath(name))) !== null,
    async createBucket(name) {
      await api.call('POST', '/r2/buckets', { name });
    },
    isBucketEmpty: async (name) => (await firstObjects(name, 1)).length === 0,
    async emptyBucket(name) {
      let deleted = 0;
      for (;;) {
        // What is listed is deleted, so the first page is always the next one.
        const keys = await firstObjects(name, PER_PAGE);
        if (keys.length === 0) {
          return deleted;
        }
        for (let start = 0; start < keys.length; start += DELETIONS_AT_ONCE) {
          await Promise.all(
            keys
              .slice(start, start + DELETIONS_AT_ONCE)
              .map((key) =>
                unlessMissing(api.call('DELETE', `${bucketPath(name)}/objects/${objectPath(key)}`)),
              ),
          );
        }
        deleted += keys.length;
      }
    },
    async deleteBucket(name) {
      await unlessMissing(api.call('DELETE', bucketPath(name)));
    },
    async workerNames() {
      const { result } = await api.call('GET', '/workers/scripts');
      return new Set(checked(Scripts, result, 'list of Workers').map(({ id }) => id));
    },
    async deployment(name) {
      const answer = await api.find(`/workers/scripts/${name}/deployments`);
      if (answer === null) {
        return null;
      }
      // The newest one comes first.
      const [newest] = checked(Deployments, answer.result, 'list of deployments').deployments;
      const message = newest?.annotations['workers/message'];
      const [version] = newest?.versions ?? [];
      if (message !== undefined || version === undefined) {
        return { message: message ?? null };
      }
      // The first upload of a Worker makes a deployment without a message; its version has it.
      const found = await api.find(`/workers/scripts/${name}/versions/${version.version_id}`);
      const annotations =
        found === null ? {} : checked(Annotated, found.result, 'version').annotations;
      return { message: annotations['workers/message'] ?? null };
    },
    configFor: (deployable, bucket) => configFor(deployable, { databases, namespaces }, bucket),
    async deploy({ name, environment }, config, message) {
      await wranglerDeploy(context, account, reporter, { name, environment, config, message });
    },
    async deleteWorker(name) {
      // With its Durable Objects, and although others may be bound to it: what goes is listed and confirmed before.
      await unlessMissing(api.call('DELETE', `/workers/scripts/${name}?force=true`));
    },
    async secretNames(name) {
      const answer = await api.find(`/workers/scripts/${name}/secrets`);
      const found = answer === null ? [] : checked(Secrets, answer.result, 'list of secrets');
      return new Set(found.map((secret) => secret.name));
    },
    async putSecret(workerName, secret, value) {
      await api.call('PUT', `/workers/scripts/${workerName}/secrets`, {
        name: secret,
        text: value,
        type: 'secret_text',
      });
    },
    async urlOf(deployable) {
      const domain = customDomainOf(deployable);
      subdomain ??= findSubdomain();
      return domain === null
        ? `https://${deployable.name}.${await subdomain}.workers.dev`
        : `https://${domain}`;
    },
    close: () => Promise.resolve(),
  };
}
