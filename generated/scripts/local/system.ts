// The whole system on this machine: all Workers in the local runtime, an instance of each Worker for each instance, a mock
// Ideogram in place of the network, and the interfaces. Everything listens on 127.0.0.1 only.
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Log, LogLevel, Miniflare } from 'miniflare';
import { CommandError } from '../deployment/context';
import { cronsOf, discoverWorkers } from '../deployment/workers';
import {
  configureInstances,
  type LocalInstance,
  type LocalKeys,
  prepareDatabase,
  prepareKeys,
  readInstances,
} from './data';
import { type LocalServer, serve } from './http';
import { type Ideogram, type IdeogramMock, loadIdeogram, outboundHandler } from './ideogram';
import { buildInterface, findInterfaces, pagesHandler } from './interfaces';
import { bundleAll, planWorkers, type WorkerPlan } from './plan';
import { forwardLines, type LocalWorker, runtimeWorkers, startRuntime } from './runtime';
import { startSchedule } from './schedule';
import { localSecrets, persistOptions } from './storage';

const PROJECT_ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DATABASE = 'multiagent';
/** With a fixed first port: the Config Service, the instances from 1 on, the interfaces from 10 on, the mock. */
const INTERFACES_FROM = 10;
const IDEOGRAM_AT = 20;

export interface LocalSystemOptions {
  /** The first of fixed ports. Default: free ones. */
  port?: number;
  /** A directory whose state is kept. Default: a new one, deleted at the end. */
  state?: string;
  /** Build and serve the interfaces. Default: true. */
  interfaces?: boolean;
  /** Replace variables of the Workers, such as `GENERATION_TIMEOUT_MS`. */
  variables?: Readonly<Record<string, string>>;
  /** Options of the mock Ideogram. */
  ideogram?: object;
  /** Told what happens, and what the Workers print. Default: nobody. */
  log?: (line: string) => void;
  /** Default: this project. */
  projectRoot?: string;
}

export interface LocalSystem {
  urls: {
    configService: string;
    /** By instance, then by type of Worker: `workers.production['image-gen']`. */
    workers: Record<string, Record<string, string>>;
    /** By the folder's name: `interfaces['admin-panel']`. */
    interfaces: Record<string, string>;
    /** Null if there is no mock. */
    ideogram: string | null;
  };
  keys: LocalKeys;
  /** What Ideogram is here; null if the project has none. */
  ideogram: IdeogramMock | null;
  /** Where the state is. */
  state: string;
  /** The database, to look at what the Workers have stored. */
  database: () => Promise<D1Database>;
  /** Runs the scheduled handler of a Worker now. */
  runScheduled: (workerName: string) => Promise<void>;
  stop: () => Promise<void>;
}

interface Parts {
  state: string;
  /** In the order in which they end. */
  ending: (() => Promise<void>)[];
}

/** The database is filled before the Workers start: which there are depends on its instances. */
async function prepareState(
  state: string,
  projectRoot: string,
): Promise<{ keys: LocalKeys; instances: LocalInstance[] }> {
  const storage = new Miniflare({
    modules: true,
    script: 'export default { fetch: () => new Response(null, { status: 404 }) };',
    d1Databases: { DB: DATABASE },
    host: '127.0.0.1',
    port: 0,
    ...persistOptions(state),
  });
  try {
    const database = (await storage.getD1Database('DB')) as unknown as D1Database;
    await prepareDatabase(database, {
      migrationsFolder: join(projectRoot, 'infrastructure/database/migrations'),
      seedPath: join(projectRoot, 'infrastructure/database/seed.sql'),
    });
    return {
      keys: await prepareKeys(database, state),
      instances: await readInstances(database),
    };
  } finally {
    await storage.dispose();
  }
}

async function startInterfaces(
  parts: Parts,
  options: LocalSystemOptions,
  projectRoot: string,
  configuration: () => object,
): Promise<{ urls: Record<string, string>; built: Promise<void> }> {
  const found = await findInterfaces(projectRoot);
  const urls: Record<string, string> = {};
  const building: Promise<void>[] = [];
  for (const [index, one] of found.entries()) {
    const directory = join(parts.state, 'interfaces', one.name);
    const ready = buildInterface(one, directory).then(() => pagesHandler(directory, configuration));
    building.push(ready.then(() => undefined));
    // Listening comes first: the Workers have to know the address. Whoever asks early waits.
    const port = options.port === undefined ? 0 : options.port + INTERFACES_FROM + index;
    const server = await serve(async (request) => await (await ready)(request), port);
    parts.ending.unshift(server.close);
    urls[one.name] = server.url;
  }
  return { urls, built: Promise.all(building).then(() => undefined) };
}

async function startIdeogram(
  parts: Parts,
  options: LocalSystemOptions,
  projectRoot: string,
): Promise<{ ideogram: Ideogram | null; server: LocalServer }> {
  const ideogram = await loadIdeogram(projectRoot, options.ideogram ?? {});
  const port = options.port === undefined ? 0 : options.port + IDEOGRAM_AT;
  const server = await serve(outboundHandler(ideogram, options.log ?? (() => {})), port);
  parts.ending.push(server.close);
  return { ideogram, server };
}

function missingParts({ own }: WorkerPlan, ideogram: Ideogram | null): string[] {
  return [
    ...([...own.values()].flat().length === 0
      ? ['no Worker under workers/ is deployed for instances: there is nothing to generate images']
      : []),
    ...(ideogram === null
      ? [
          'there is no mock Ideogram (tests/provider-adapters/mock-ideogram.ts): only the provider `development` works',
        ]
      : []),
  ];
}

async function start(
  parts: Parts,
  options: LocalSystemOptions,
  projectRoot: string,
): Promise<Omit<LocalSystem, 'stop'>> {
  const log = options.log ?? (() => {});
  const workers = await discoverWorkers(projectRoot);
  const tasks = [
    bundleAll(workers, projectRoot),
    prepareState(parts.state, projectRoot),
    startIdeogram(parts, options, projectRoot),
    localSecrets(parts.state),
  ] as const;
  // Where one fails, the others must have ended before the state is taken away from them.
  await Promise.allSettled(tasks);
  const [bundles, { keys, instances }, { ideogram, server }, secrets] = await Promise.all(tasks);
  const plan = planWorkers(workers, bundles, instances, options.port);
  const { configService, own, all } = plan;
  for (const missing of missingParts(plan, ideogram)) {
    log(`warning: ${missing}`);
  }
  // Filled when the Workers have their addresses; pages are answered after that only.
  let configuration: object = {};
  const interfaces =
    options.interfaces === false
      ? { urls: {}, built: Promise.resolve() }
      : await startInterfaces(parts, options, projectRoot, () => configuration);
  // Awaited at the end, or where the start fails before: a build writes into the state.
  parts.ending.push(() => interfaces.built.catch(() => {}));

  const runtime = await startRuntime({
    host: '127.0.0.1',
    port: 0,
    log: new Log(LogLevel.ERROR),
    handleRuntimeStdio: (stdout, stderr) => [stdout, stderr].forEach(forwardLines(log)),
    ...persistOptions(parts.state),
    workers: runtimeWorkers(all, {
      secrets,
      outbound: `127.0.0.1:${server.port}`,
      variables: {
        ALLOWED_ORIGINS: Object.values(interfaces.urls).join(','),
        ...options.variables,
      },
    }),
  });
  parts.ending.unshift(() => runtime.dispose());
  const urlOf = async ({ deployable }: LocalWorker) =>
    (await runtime.unsafeGetDirectURL(deployable.name)).origin;
  const configServiceUrl = await urlOf(configService);
  const workerUrls: Record<string, Record<string, string>> = {};
  for (const [instanceId, placed] of own) {
    workerUrls[instanceId] = {};
    for (const worker of placed) {
      Object.assign(workerUrls[instanceId], {
        [worker.deployable.worker.type]: await urlOf(worker),
      });
    }
  }
  configuration = {
    config_service_url: configServiceUrl,
    image_worker_urls: Object.fromEntries(
      Object.entries(workerUrls).flatMap(([instanceId, { 'image-gen': url }]) =>
        url === undefined ? [] : [[instanceId, url]],
      ),
    ),
    models: ['ideogram-4-5', 'ideogram-v3', 'ideogram-v2'],
  };
  await configureInstances(configServiceUrl, keys.superadmin, workerUrls, ideogram);
  await interfaces.built;

  const scheduled = all.flatMap(({ deployable }) => {
    const crons = cronsOf(deployable);
    return crons.length > 0 ? [{ name: deployable.name, crons }] : [];
  });
  const runScheduled = async (name: string, cron?: string) => {
    const worker = await runtime.getWorker(name);
    const { outcome } = await worker.scheduled({
      scheduledTime: new Date(),
      ...(cron === undefined ? {} : { cron }),
    });
    if (outcome !== 'ok') {
      throw new CommandError(`the scheduled handler of ${name} failed: ${outcome}`);
    }
  };
  const stopSchedule = startSchedule(
    scheduled,
    (name, cron) => void runScheduled(name, cron).catch((error) => log(String(error))),
  );
  parts.ending.unshift(() => Promise.resolve(stopSchedule()));

  return {
    urls: {
      configService: configServiceUrl,
      workers: workerUrls,
      interfaces: interfaces.urls,
      ideogram: ideogram === null ? null : server.url,
    },
    keys,
    ideogram: ideogram?.mock ?? null,
    state: parts.state,
    database: async () =>
      (await runtime.getD1Database('DB', configService.deployable.name)) as unknown as D1Database,
    runScheduled: (name) => runScheduled(name),
  };
}

/** Starts the system. Whatever goes wrong on the way, nothing of it stays behind. */
export async function startLocalSystem(options: LocalSystemOptions = {}): Promise<LocalSystem> {
  const isTemporary = options.state === undefined;
  const state =
    options.state === undefined
      ? await mkdtemp(join(tmpdir(), 'local-system-'))
      : resolve(options.state);
  const parts: Parts = { state, ending: [] };
  // Also where the process ends in the middle of a start.
  const removeAtExit = () => rmSync(state, { recursive: true, force: true });
  if (isTemporary) {
    process.on('exit', removeAtExit);
  }
  const stop = async () => {
    for (const end of parts.ending.splice(0)) {
      await end().catch((error) => options.log?.(`while stopping: ${error}`));
    }
    if (isTemporary) {
      process.off('exit', removeAtExit);
      await rm(state, { recursive: true, force: true });
    }
  };
  try {
    return { ...(await start(parts, options, options.projectRoot ?? PROJECT_ROOT)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
