// Changes an existing instance: shows what differs, and deploys again only what the change reaches.
import { getInstanceById } from '@/infrastructure/database/queries';
import { CommandError } from './context';
import { databaseFor, forgetCached } from './deploy';
import { changeEntry, differencesOf, presentConfig, requireKeyRing } from './entry';
import type { InstanceFile } from './instance-file';
import type { Session } from './session';
import { runSteps, type Step } from './steps';
import { deployNow } from './worker-steps';
import { instanceDeployables } from './workers';
import { configFingerprint, readDeploymentMessage } from './wrangler-config';

export interface UpdateResult {
  ok: true;
  instance_id: string;
  dry_run: boolean;
  /** What differs, without secrets. */
  differences: string[];
  steps: string[];
}

/** Workers whose deployment looks different with the new bucket, and is not there yet. */
async function deploymentSteps(
  session: Session,
  instanceId: string,
  before: string | null,
  after: string | null,
): Promise<Step[]> {
  const { target, context } = session;
  const names = await target.workerNames();
  const steps: Step[] = [];
  for (const deployable of instanceDeployables(session.workers, instanceId)) {
    if (!names.has(deployable.name)) {
      continue;
    }
    const fingerprint = (bucket: string | null) =>
      configFingerprint(target.configFor(deployable, bucket), context.projectRoot);
    const wanted = fingerprint(after);
    if (wanted === fingerprint(before)) {
      continue;
    }
    const present = await target.deployment(deployable.name);
    if (readDeploymentMessage(present?.message ?? '')?.config !== wanted) {
      steps.push({
        title: `deploy ${deployable.name}: its bindings change`,
        run: () => deployNow(session, deployable, after),
      });
    }
  }
  return steps;
}

export async function updateInstance(
  session: Session,
  file: InstanceFile,
  dryRun: boolean,
): Promise<UpdateResult> {
  const { reporter, target, context } = session;
  const { instanceId } = file;
  await requireKeyRing(file, session.keyRing);
  const database = await databaseFor(session);
  const entry = await getInstanceById(database, instanceId);
  if (entry === null) {
    throw new CommandError(`there is no instance ${instanceId}: deploy-instance makes it`);
  }
  if (entry.org_id !== file.orgId) {
    throw new CommandError(
      `org_id: an instance does not change its organisation (${entry.org_id})`,
    );
  }
  const { lines, name, change } = await differencesOf(file, entry, session.keyRing);
  for (const line of lines) {
    reporter.say(`${instanceId}: ${line}`);
  }

  const steps: Step[] = [];
  const before = presentConfig(entry).r2_bucket;
  const after = change.r2_bucket === undefined ? before : change.r2_bucket;
  if (after !== before) {
    if (after !== null && !(await target.hasBucket(after))) {
      steps.push({ title: `create the bucket ${after}`, run: () => target.createBucket(after) });
    }
    steps.push(...(await deploymentSteps(session, instanceId, before, after)));
    if (before !== null) {
      reporter.warn(`what is in the bucket ${before} stays there and is not moved`);
    }
  }
  if (lines.length > 0) {
    // Last: as long as the entry differs, running this again goes on where it stopped.
    steps.push({
      title: `change the entry of ${instanceId}`,
      run: async () => {
        await changeEntry(database, instanceId, name, change, session.keyRing, context.now());
        await forgetCached(session, instanceId);
      },
    });
  }
  await runSteps(steps, { dryRun, reporter });
  reporter.say(
    lines.length === 0
      ? `${instanceId}: nothing differs, nothing was changed`
      : `${instanceId}: ${dryRun ? 'nothing was changed' : 'done'}`,
  );
  return {
    ok: true,
    instance_id: instanceId,
    dry_run: dryRun,
    differences: lines,
    steps: steps.map(({ title }) => title),
  };
}

export function updateText({ instance_id, differences }: UpdateResult): string {
  return differences.length === 0
    ? `${instance_id}: no difference`
    : [instance_id, ...differences.map((line) => `  ${line}`)].join('\n');
}
