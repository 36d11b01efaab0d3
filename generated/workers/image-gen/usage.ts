// The row of usage that each generated image leaves in D1.
import { violatedConstraint } from '@/infrastructure/database/errors';
import { insertUsageLog, type UsageLog } from '@/infrastructure/database/queries';
import { withRetry } from '@/workers/shared/error-handling/retry';
import type { ImageResult } from '@/workers/shared/provider-adapters/types';
import type { RequestContext } from './context';
import type { Generation } from './generation';
import { usageIdOf } from './job-client';
import { retryOptions, type Time } from './provider';

type References = Pick<UsageLog, 'instance_id' | 'project_id' | 'user_id'>;

/** Those of the references that still lead somewhere. */
async function livingReferences(database: D1Database, usage: References): Promise<References> {
  const { instance_id, project_id, user_id } = usage;
  const row = await database
    .prepare(
      `SELECT
         (SELECT instance_id FROM instances WHERE instance_id = ?) AS instance_id,
         (SELECT project_id FROM projects WHERE project_id = ?) AS project_id,
         (SELECT user_id FROM users WHERE user_id = ?) AS user_id`,
    )
    .bind(instance_id, project_id, user_id)
    .first<References>();
  return row ?? { instance_id: null, project_id: null, user_id: null };
}

/** The organisation pays even if the instance, project or user is deleted meanwhile. */
async function insertUsage(database: D1Database, usage: UsageLog): Promise<void> {
  try {
    await insertUsageLog(database, usage);
  } catch (error) {
    if (violatedConstraint(error) !== 'foreign_key') {
      throw error;
    }
    await insertUsageLog(database, { ...usage, ...(await livingReferences(database, usage)) });
  }
}

/** Charges a generation; doing it again changes nothing, since the row's id follows from the generation. */
export async function recordUsage(
  context: RequestContext,
  generation: Generation,
  result: ImageResult,
  time: Time,
): Promise<void> {
  const now = new Date().toISOString();
  const usage: UsageLog = {
    log_id: await usageIdOf(generation),
    org_id: generation.orgId,
    instance_id: generation.instanceId,
    project_id: generation.projectId,
    user_id: generation.userId,
    request_id: generation.requestId,
    timestamp: now,
    provider: generation.provider,
    model: generation.model,
    tokens_used: result.usage.tokens,
    cost: result.usage.cost_microdollars,
    created_at: now,
  };
  await withRetry(() => insertUsage(context.env.DB, usage), {
    ...retryOptions(context, time),
    shouldRetry: (error) => violatedConstraint(error) === null,
  });
}
