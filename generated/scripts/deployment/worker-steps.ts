// Whether a Worker has to be deployed, and why; and the secrets that it still lacks.
import type { Session } from './session';
import type { Step } from './steps';
import { type Deployable, secretsOf } from './workers';
import { configFingerprint, deploymentMessage, readDeploymentMessage } from './wrangler-config';

/** Why the Worker is to be deployed; null: what is there is what would be. */
export async function deploymentReason(
  { target, context, sources }: Session,
  deployable: Deployable,
  bucket: string | null,
  deployedNames: ReadonlySet<string>,
): Promise<string | null> {
  const present = deployedNames.has(deployable.name)
    ? await target.deployment(deployable.name)
    : null;
  if (present === null) {
    return 'it is not deployed';
  }
  const fingerprints = readDeploymentMessage(present.message ?? '');
  if (fingerprints === null) {
    return 'it was deployed by other means';
  }
  const wanted = configFingerprint(target.configFor(deployable, bucket), context.projectRoot);
  if (fingerprints.config !== wanted) {
    return 'its configuration has changed';
  }
  return fingerprints.sources === sources ? null : 'the code has changed';
}

/** Deploys with the bindings as they are known at that moment: ids may have come to be in the steps before. */
export async function deployNow(
  { target, context, sources }: Session,
  deployable: Deployable,
  bucket: string | null,
): Promise<void> {
  const config = target.configFor(deployable, bucket);
  const message = deploymentMessage({
    config: configFingerprint(config, context.projectRoot),
    sources,
  });
  await target.deploy(deployable, config, message);
}

export async function workerSteps(
  session: Session,
  deployable: Deployable,
  bucket: string | null,
  deployedNames: ReadonlySet<string>,
): Promise<{ steps: Step[]; missingSecrets: string[] }> {
  const { target, context } = session;
  const { name, environment } = deployable;
  const steps: Step[] = [];
  const reason = await deploymentReason(session, deployable, bucket, deployedNames);
  if (reason !== null) {
    const where = environment === null ? '' : ` in the environment ${environment}`;
    steps.push({
      title: `deploy ${name}${where}: ${reason}`,
      run: () => deployNow(session, deployable, bucket),
    });
  }
  const present = deployedNames.has(name) ? await target.secretNames(name) : new Set<string>();
  const missingSecrets: string[] = [];
  for (const secret of secretsOf(deployable)) {
    if (present.has(secret)) {
      continue;
    }
    const value = context.environment[secret] ?? '';
    if (value === '') {
      missingSecrets.push(secret);
    } else {
      steps.push({
        title: `set the secret ${secret} of ${name}`,
        run: () => target.putSecret(name, secret, value),
      });
    }
  }
  return { steps, missingSecrets };
}
