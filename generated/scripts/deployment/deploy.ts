// Deploys an instance: finds out what is missing, then makes it in an order in which each step only needs those before it.
import { instanceConfigCacheKey } from '@/infrastructure/config-service/cache-entries';
import {
  getInstanceById,
  getOrganizationById,
  type Instance,
  insertOrganization,
  violatedConstraint,
} from '@/infrastructure/database/queries';
import { CommandError } from './context';
import { changeEntry, createEntry, differencesOf, presentConfig, requireKeyRing } from './entry';
import type { InstanceFile } from './instance-file';
import { appliedMigrations, migrationScript, readMigrations } from './migrations';
import type { Session } from './session';
import { runSteps, type Step } from './steps';
import { workerSteps } from './worker-steps';
import { bucketsOf, type Deployable, instanceDeployables, sharedDeployables } from './workers';

export interface DeploymentResult {
  ok: true;
  instance_id: string;
  dry_run: boolean;
  /** What was done; with a dry run: what would be. Empty: everything was there. */
  steps: string[];
  worker_urls: Record<string, string>;
}

/** What the planning has found of the instance. */
interface Found {
  entry: Instance | null;
}

export async function forgetCached({ target }: Session, instanceId: string): Promise<void> {
  await target.deleteEntry('CONFIG_CACHE', instanceConfigCacheKey(instanceId));
}

export async function databaseFor({ target, databaseName }: Session): Promise<D1Database> {
  const database = await target.database(databaseName);
  if (database === null) {
    throw new CommandError(`there is no database ${databaseName}: deploy an instance first`);
  }
  return database;
}

async function databaseSteps(session: Session): Promise<{ steps: Step[]; migrated: boolean }> {
  const { target, databaseName } = session;
  const steps: Step[] = [];
  const database = await target.database(databaseName);
  if (database === null) {
    steps.push({
      title: `create the database ${databaseName}`,
      run: async () => {
        await target.createDatabase(databaseName);
      },
    });
  }
  const applied = database === null ? new Set<string>() : await appliedMigrations(database);
  for (const migration of await readMigrations(session.migrationsFolder)) {
    if (!applied.has(migration.name)) {
      steps.push({
        title: `apply the migration ${migration.name}`,
        run: () => target.runScript(databaseName, migrationScript(migration)),
      });
    }
  }
  return { steps, migrated: applied.size > 0 };
}

async function namespaceSteps(
  { target }: Session,
  deployables: readonly Deployable[],
): Promise<Step[]> {
  const names = new Set(
    deployables.flatMap(({ section }) => section.kv_namespaces.map(({ binding }) => binding)),
  );
  const steps: Step[] = [];
  for (const name of names) {
    if (!(await target.hasNamespace(name))) {
      steps.push({
        title: `create the KV namespace ${name}`,
        run: () => target.createNamespace(name),
      });
    }
  }
  return steps;
}

async function organizationSteps(
  session: Session,
  file: InstanceFile,
  migrated: boolean,
): Promise<Step[]> {
  const present = migrated
    ? await getOrganizationById(await databaseFor(session), file.orgId)
    : null;
  if (present !== null) {
    return [];
  }
  const { organization } = file;
  if (organization === null) {
    throw new CommandError(
      `org_id: there is no organisation ${file.orgId}. Make it with POST /organization, or give its name and billing_email in the file as "organization".`,
    );
  }
  return [
    {
      title: `make the organisation ${file.orgId}`,
      run: async () => {
        const now = session.context.now().toISOString();
        try {
          await insertOrganization(await databaseFor(session), {
            org_id: file.orgId,
            name: organization.name,
            billing_email: organization.billing_email,
            created_at: now,
            updated_at: now,
          });
        } catch (error) {
          if (violatedConstraint(error) !== 'unique') {
            throw error;
          }
        }
      },
    },
  ];
}

async function findEntry(
  session: Session,
  file: InstanceFile,
  migrated: boolean,
): Promise<Instance | null> {
  const entry = migrated
    ? await getInstanceById(await databaseFor(session), file.instanceId)
    : null;
  if (entry === null) {
    return null;
  }
  if (entry.org_id !== file.orgId) {
    throw new CommandError(
      `org_id: ${file.instanceId} exists and belongs to ${entry.org_id}, not to ${file.orgId}`,
    );
  }
  // Somebody may have edited it on purpose since, so it is left alone; but nobody should be surprised.
  const { lines } = await differencesOf(file, entry, session.keyRing).catch(() => ({
    lines: ['its provider keys cannot be compared: they are encrypted with another key'],
  }));
  if (lines.length > 0) {
    session.reporter.warn(
      `the entry of ${file.instanceId} differs from the file and is left as it is; update-instance changes it:\n${lines.map((line) => `  ${line}`).join('\n')}`,
    );
  }
  return entry;
}

async function bucketSteps(
  { target }: Session,
  deployables: readonly Deployable[],
  bucket: string | null,
): Promise<Step[]> {
  const names = new Set([...(bucket === null ? [] : [bucket]), ...deployables.flatMap(bucketsOf)]);
  const steps: Step[] = [];
  for (const name of names) {
    if (!(await target.hasBucket(name))) {
      steps.push({ title: `create the bucket ${name}`, run: () => target.createBucket(name) });
    }
  }
  return steps;
}

/** The steps around one Worker of the instance: its entry names its URL only while it is deployed. */
async function urlSteps(
  session: Session,
  deployable: Deployable,
  instanceId: string,
  { entry }: Found,
  isDeployed: boolean,
): Promise<{ before: Step[]; after: Step[]; url: string }> {
  const { type } = deployable.worker;
  const url = await session.target.urlOf(deployable);
  const known = entry === null ? undefined : presentConfig(entry).worker_urls[type];
  const write = (value: string | null) => async () => {
    await changeEntry(
      await databaseFor(session),
      instanceId,
      null,
      { worker_urls: { [type]: value } },
      session.keyRing,
      session.context.now(),
    );
    await forgetCached(session, instanceId);
  };
  return {
    url,
    before:
      known !== undefined && !isDeployed
        ? [
            {
              title: `remove the URL of ${deployable.name}, which is not deployed`,
              run: write(null),
            },
          ]
        : [],
    after:
      known === url && isDeployed
        ? []
        : [{ title: `write worker_urls.${type} to the entry of ${instanceId}`, run: write(url) }],
  };
}

export async function planDeployment(
  session: Session,
  file: InstanceFile,
): Promise<{ steps: Step[]; urls: Record<string, string> }> {
  const { target, workers } = session;
  const { instanceId } = file;
  await requireKeyRing(file, session.keyRing);
  const shared = sharedDeployables(workers);
  const own = instanceDeployables(workers, instanceId);
  if (own.length === 0) {
    session.reporter.warn('this project has no Worker of an instance yet: none is deployed');
  }
  const all = [...shared, ...own];

  const { steps, migrated } = await databaseSteps(session);
  steps.push(...(await namespaceSteps(session, all)));
  steps.push(...(await organizationSteps(session, file, migrated)));
  const entry = await findEntry(session, file, migrated);
  if (entry === null) {
    steps.push({
      title: `make the entry of ${instanceId}`,
      run: async () => {
        const database = await databaseFor(session);
        await createEntry(database, file, session.keyRing, session.context.now());
        await forgetCached(session, instanceId);
      },
    });
  }
  // The bucket of the entry counts: the file may be older.
  const bucket = entry === null ? (file.config.r2_bucket ?? null) : presentConfig(entry).r2_bucket;
  steps.push(...(await bucketSteps(session, all, bucket)));

  const names = await target.workerNames();
  const urls: Record<string, string> = {};
  const missingSecrets = new Set<string>();
  for (const deployable of all) {
    const isOwn = !deployable.worker.shared;
    const planned = await workerSteps(session, deployable, isOwn ? bucket : null, names);
    for (const secret of planned.missingSecrets) {
      missingSecrets.add(secret);
    }
    if (!isOwn) {
      steps.push(...planned.steps);
      continue;
    }
    const { before, after, url } = await urlSteps(
      session,
      deployable,
      instanceId,
      { entry },
      names.has(deployable.name),
    );
    urls[deployable.worker.type] = url;
    steps.push(...before, ...planned.steps, ...after);
  }
  if (missingSecrets.size > 0) {
    throw new CommandError(
      `these secrets are set nowhere yet, and not in the environment either: ${[...missingSecrets].sort().join(', ')}`,
    );
  }
  return { steps, urls };
}

export async function deployInstance(
  session: Session,
  file: InstanceFile,
  dryRun: boolean,
): Promise<DeploymentResult> {
  const { reporter, target } = session;
  reporter.say(`${file.instanceId}: looking at ${target.description}`);
  const { steps, urls } = await planDeployment(session, file);
  await runSteps(steps, { dryRun, reporter });
  reporter.say(
    steps.length === 0
      ? `${file.instanceId}: everything is there, nothing was changed`
      : `${file.instanceId}: ${dryRun ? 'nothing was changed' : 'done'}`,
  );
  return {
    ok: true,
    instance_id: file.instanceId,
    dry_run: dryRun,
    steps: steps.map(({ title }) => title),
    worker_urls: urls,
  };
}

/** The result for people. */
export function deploymentText({ instance_id, worker_urls, dry_run }: DeploymentResult): string {
  const lines = Object.entries(worker_urls).map(([type, url]) => `  ${type}  ${url}`);
  return [`${instance_id}${dry_run ? ' (dry run)' : ''}`, ...lines].join('\n');
}
