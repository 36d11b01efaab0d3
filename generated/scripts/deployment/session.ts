// What all commands begin with: arguments read, Workers found, the target opened; and how they end.
import { join, resolve } from 'node:path';
import { type Arguments, type Flag, readArguments, requireAccount } from './arguments';
import { createCloudflareTarget, knownIds } from './cloudflare-target';
import { type CommandContext, CommandError } from './context';
import { type KeyRingSource, keyRingOf } from './entry';
import { createReporter, type Reporter } from './reporter';
import type { Target } from './target';
import { discoverWorkers, sharedDeployables, type Worker } from './workers';
import { sourcesFingerprint } from './wrangler-config';

/** The secrets that belong to the system and not to one instance. */
export const SYSTEM_SECRETS = [
  'PROVIDER_KEY_ENCRYPTION_KEYS',
  'SERVICE_TOKEN',
  'CACHE_ENCRYPTION_KEY',
] as const;

export interface Session {
  context: CommandContext;
  reporter: Reporter;
  target: Target;
  workers: Worker[];
  keyRing: KeyRingSource;
  /** Fingerprint of all sources. */
  sources: string;
  databaseName: string;
  /** Absolute. */
  migrationsFolder: string;
}

/** The database that the Workers know as `DB`, and where its migrations are. */
function databaseOf(workers: readonly Worker[]): { name: string; migrationsFolder: string } {
  const found = workers.flatMap(({ raw, folder }) =>
    raw.d1_databases.flatMap(({ binding, database_name: name, migrations_dir: path }) =>
      binding === 'DB' && name !== undefined ? [{ name, path, folder }] : [],
    ),
  );
  const [first] = found;
  if (first === undefined) {
    throw new CommandError('no Worker of this project is bound to a database as DB');
  }
  const other = found.find(({ name }) => name !== first.name);
  if (other !== undefined) {
    throw new CommandError(`the Workers name two databases as DB: ${first.name} and ${other.name}`);
  }
  const withMigrations = found.find(({ path }) => path !== undefined);
  if (withMigrations?.path === undefined) {
    throw new CommandError(`no configuration says where the migrations of ${first.name} are`);
  }
  return {
    name: first.name,
    migrationsFolder: resolve(withMigrations.folder, withMigrations.path),
  };
}

export async function openSession(
  given: CommandContext,
  args: Arguments,
  reporter: Reporter,
): Promise<Session> {
  const account = args.local ? null : requireAccount(args);
  const workers = await discoverWorkers(given.projectRoot);
  const { name: databaseName, migrationsFolder } = databaseOf(workers);
  let context = given;
  let target: Target;
  if (account === null) {
    const state = resolve(given.projectRoot, args.state ?? join('.wrangler', 'local'));
    // Loaded only here: a deployment to an account needs no local runtime.
    const { openLocalTarget } = await import('@/scripts/local/target');
    const local = await openLocalTarget(state, given.projectRoot, {
      databases: [databaseName],
      namespaces: workers.flatMap(({ raw }) => raw.kv_namespaces.map(({ binding }) => binding)),
    });
    // A local system has secrets of its own: none of the real ones is needed here, or used.
    context = { ...given, environment: { ...given.environment, ...local.secrets } };
    target = local.target;
  } else {
    reporter.hide([account.token]);
    target = createCloudflareTarget({
      context,
      account,
      reporter,
      ...knownIds([
        ...sharedDeployables(workers),
        ...workers.map((worker) => ({
          worker,
          name: worker.type,
          environment: null,
          section: worker.raw,
        })),
      ]),
    });
  }
  reporter.hide(SYSTEM_SECRETS.map((name) => context.environment[name] ?? ''));
  return {
    context,
    reporter,
    target,
    workers,
    keyRing: keyRingOf(context),
    sources: await sourcesFingerprint(given.projectRoot),
    databaseName,
    migrationsFolder,
  };
}

export interface Command {
  usage: string;
  /** The flags of its own. */
  flags: readonly Flag[];
  /** False: something was not done, and has been reported. */
  run: (args: Arguments, context: CommandContext, reporter: Reporter) => Promise<boolean>;
}

/** Runs a command and gives its exit status. */
export async function runCommand(
  command: Command,
  argv: readonly string[],
  context: CommandContext,
): Promise<number> {
  let reporter = createReporter(context, argv.includes('--json'));
  try {
    const args = readArguments(argv, command.flags, context.environment);
    if (args.help) {
      context.stdout(`${command.usage}\n`);
      return 0;
    }
    reporter = createReporter(context, args.json);
    reporter.hide([args.apiToken ?? '']);
    return (await command.run(args, context, reporter)) ? 0 : 1;
  } catch (error) {
    const known = error instanceof CommandError;
    const message = error instanceof Error ? error.message : String(error);
    const trace = !known && error instanceof Error ? `\n${error.stack ?? ''}` : '';
    reporter.say(`error: ${message}${trace}`);
    if (argv.includes('--json')) {
      reporter.result({ ok: false, error: message }, '');
    }
    return 1;
  }
}
