// Deletes an instance: its Workers first, so that nothing uses the rest any more; its entry last, so that a run that was
// interrupted still knows what to look for.
import {
  deleteInstance as deleteEntry,
  getInstanceById,
  type Instance,
  listInstances,
  type Page,
  type PagePosition,
} from '@/infrastructure/database/queries';
import { CommandError } from './context';
import { forgetCached } from './deploy';
import { presentConfig } from './entry';
import { appliedMigrations } from './migrations';
import type { Session } from './session';
import { runSteps, type Step } from './steps';
import { bucketsOf, instanceDeployables, sharedDeployables } from './workers';

export interface DeletionRequest {
  instanceId: string;
  /** From the configuration file: where the entry is gone, nothing else knows it. */
  bucket: string | null;
  confirmed: boolean;
  deleteObjects: boolean;
  dryRun: boolean;
}

export interface DeletionResult {
  ok: boolean;
  instance_id: string;
  dry_run: boolean;
  /** What went; without `--yes` or with a dry run: what would. */
  steps: string[];
}

async function findDatabase({ target, databaseName }: Session): Promise<D1Database | null> {
  const database = await target.database(databaseName);
  return database !== null && (await appliedMigrations(database)).size > 0 ? database : null;
}

async function allInstances(database: D1Database): Promise<Instance[]> {
  const instances: Instance[] = [];
  let after: PagePosition | null = null;
  do {
    const page: Page<Instance> = await listInstances(database, { limit: 100, after });
    instances.push(...page.items);
    after = page.next;
  } while (after !== null);
  return instances;
}

/** Whether something else than this instance works with the bucket. */
async function otherUserOf(
  session: Session,
  database: D1Database | null,
  bucket: string,
  instanceId: string,
): Promise<string | null> {
  for (const deployable of sharedDeployables(session.workers)) {
    if (bucketsOf(deployable).includes(bucket)) {
      return deployable.name;
    }
  }
  const others = database === null ? [] : await allInstances(database);
  const user = others.find(
    (other) =>
      other.instance_id !== instanceId &&
      (presentConfig(other).r2_bucket === bucket ||
        instanceDeployables(session.workers, other.instance_id).some((deployable) =>
          bucketsOf(deployable).includes(bucket),
        )),
  );
  return user?.instance_id ?? null;
}

async function bucketSteps(
  session: Session,
  database: D1Database | null,
  bucket: string,
  request: DeletionRequest,
): Promise<Step[]> {
  const { target, reporter } = session;
  if (!(await target.hasBucket(bucket))) {
    return [];
  }
  const other = await otherUserOf(session, database, bucket, request.instanceId);
  if (other !== null) {
    reporter.warn(`the bucket ${bucket} stays: ${other} uses it as well`);
    return [];
  }
  const steps: Step[] = [];
  if (!(await target.isBucketEmpty(bucket))) {
    if (!request.deleteObjects) {
      throw new CommandError(
        `the bucket ${bucket} holds objects: pass --delete-objects to delete them with it. Nothing was deleted.`,
      );
    }
    steps.push({
      title: `delete all objects in the bucket ${bucket}`,
      run: async () => {
        reporter.say(`${await target.emptyBucket(bucket)} objects deleted`);
      },
    });
  }
  steps.push({ title: `delete the bucket ${bucket}`, run: () => target.deleteBucket(bucket) });
  return steps;
}

async function describeEntry(database: D1Database, entry: Instance): Promise<string> {
  const row = await database
    .prepare('SELECT count(*) AS count FROM projects WHERE instance_id = ?')
    .bind(entry.instance_id)
    .first<{ count: number }>();
  return `delete the entry of ${entry.instance_id}, with ${row?.count ?? 0} projects and their keys, and the access of ${entry.authorized_users.length} users`;
}

async function planDeletion(session: Session, request: DeletionRequest): Promise<Step[]> {
  const { target } = session;
  const { instanceId } = request;
  const database = await findDatabase(session);
  const entry = database === null ? null : await getInstanceById(database, instanceId);
  const steps: Step[] = [];
  const names = await target.workerNames();
  for (const { name } of instanceDeployables(session.workers, instanceId)) {
    if (names.has(name)) {
      steps.push({
        title: `delete the Worker ${name}, with its Durable Objects`,
        run: () => target.deleteWorker(name),
      });
    }
  }
  const bucket = entry === null ? request.bucket : presentConfig(entry).r2_bucket;
  if (bucket !== null) {
    steps.push(...(await bucketSteps(session, database, bucket, request)));
  }
  if (database !== null && entry !== null) {
    steps.push({
      title: await describeEntry(database, entry),
      run: async () => {
        await deleteEntry(database, instanceId);
        await forgetCached(session, instanceId);
      },
    });
  }
  return steps;
}

export async function deleteInstance(
  session: Session,
  request: DeletionRequest,
): Promise<DeletionResult> {
  const { reporter } = session;
  const { instanceId, confirmed, dryRun } = request;
  const steps = await planDeletion(session, request);
  const result = {
    instance_id: instanceId,
    dry_run: dryRun,
    steps: steps.map(({ title }) => title),
  };
  if (steps.length === 0) {
    reporter.say(`${instanceId}: nothing of it is there`);
    return { ok: true, ...result };
  }
  reporter.say(`this deletes of ${instanceId}, for good:`);
  for (const { title } of steps) {
    reporter.say(`  ${title}`);
  }
  if (!confirmed && !dryRun) {
    reporter.say('Nothing was deleted. Pass --yes to do it.');
    return { ok: false, ...result };
  }
  await runSteps(steps, { dryRun, reporter });
  reporter.say(`${instanceId}: ${dryRun ? 'nothing was deleted' : 'deleted'}`);
  return { ok: true, ...result };
}

export function deletionText({ instance_id, steps }: DeletionResult): string {
  return [instance_id, ...steps.map((title) => `  ${title}`)].join('\n');
}
