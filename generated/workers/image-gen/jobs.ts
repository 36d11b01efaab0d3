// `GET /jobs/{job_id}`: what became of a generation that outlived its request. Asking is what moves it on.
import { canAccessInstance } from '@/infrastructure/auth/types';
import {
  ForbiddenError,
  NotFoundError,
  type PlatformError,
} from '@/workers/shared/error-handling/errors';
import { withTimeout } from '@/workers/shared/error-handling/retry';
import { authenticate, findInstance, providerKeyOf } from './access';
import { answer, type RequestContext } from './context';
import { deliver } from './delivery';
import { generationTimeoutMs } from './env';
import { type Order, successBody } from './generation';
import type { JobState } from './generation-job';
import { jobOf } from './job-client';
import { adapterFor } from './provider';
import { toGenerationError } from './provider-errors';

/** A submission that has not said anything for so long after its request has ended is lost. */
const SUBMISSION_LOST_AFTER_MS = 60_000;
const HOLD_BEYOND_TIME_MS = 5_000;

type Step = Extract<JobState, { kind: 'completed' | 'failed' }> | { kind: 'pending' };
const PENDING: Step = { kind: 'pending' };

/** One look at the provider's job, and all that follows from it. Rejects with a PlatformError. */
async function moveOn(
  context: RequestContext,
  order: Order,
  providerJobId: string,
  deadlineMs: number,
): Promise<Step> {
  try {
    const adapter = adapterFor(context, order);
    const status = await adapter.checkStatus(providerJobId);
    switch (status.status) {
      case 'pending':
        return PENDING;
      case 'failed':
        return { kind: 'failed', reason: toGenerationError(status.error).code };
      case 'completed':
        return {
          kind: 'completed',
          delivery: await deliver(context, adapter, order, providerJobId, deadlineMs),
        };
    }
  } catch (error) {
    throw toGenerationError(error);
  }
}

/** A failure of the moment leaves the job as it is; a fault of ours is told as such; any other is the job's end. */
function stepAfter(failure: PlatformError): Step {
  if (failure.code === 'INTERNAL_ERROR') {
    throw failure;
  }
  return failure.retryable ? PENDING : { kind: 'failed', reason: failure.code };
}

async function advance(
  context: RequestContext,
  order: Order,
  providerJobId: string,
): Promise<Step> {
  const job = jobOf(context.env, order.generation.jobId);
  const timeoutMs = generationTimeoutMs(context.env);
  if (!(await job.hold(timeoutMs + HOLD_BEYOND_TIME_MS))) {
    // Somebody else is at it; what comes of that is told to whoever asks next.
    return PENDING;
  }
  let step: Step = PENDING;
  try {
    const work = moveOn(context, order, providerJobId, context.startedAtMs + timeoutMs);
    // What is halfway stored may be stored to its end, even if nobody waits for it any longer.
    context.executionContext.waitUntil(work.catch(() => undefined));
    step = await withTimeout(() => work, timeoutMs, { pause: context.timer }).catch(
      (error: unknown) => stepAfter(toGenerationError(error)),
    );
  } finally {
    await (step.kind === 'completed'
      ? job.complete(step.delivery)
      : step.kind === 'failed'
        ? job.fail(step.reason)
        : job.letGo());
  }
  return step;
}

export async function getJob(context: RequestContext, jobId: string): Promise<Response> {
  const { env } = context;
  const auth = await authenticate(context);
  const job = jobOf(env, jobId);
  const record = await job.read();
  if (record === null) {
    throw new NotFoundError('there is no such job');
  }
  const { generation, state } = record;
  const { instanceId, orgId, startedAtMs, provider } = generation;
  if (!canAccessInstance(auth, { instance_id: instanceId, org_id: orgId })) {
    throw new ForbiddenError('you have no access to the instance of this job');
  }
  let step: Step = PENDING;
  if (state.kind === 'completed' || state.kind === 'failed') {
    step = state;
  } else if (state.kind === 'pending' && state.providerJobId !== null) {
    const instance = await findInstance(context, auth, { instanceId, projectId: null });
    const apiKey = providerKeyOf(instance, provider);
    step = await advance(context, { generation, apiKey, instance }, state.providerJobId);
  } else if (
    state.kind === 'pending' &&
    context.startedAtMs > startedAtMs + generationTimeoutMs(env) + SUBMISSION_LOST_AFTER_MS
  ) {
    step = { kind: 'failed', reason: 'PROVIDER_TIMEOUT' };
    await job.fail(step.reason);
  }
  return answer(context, {
    job_id: jobId,
    status: step.kind,
    ...(step.kind === 'completed' ? successBody(step.delivery) : {}),
    ...(step.kind === 'failed' ? { reason: step.reason } : {}),
  });
}
