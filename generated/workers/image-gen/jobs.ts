// `GET /jobs/{job_id}`: what became of a generation that outlived its request. Asking is what moves it on.
import type { AuthContext } from '@/infrastructure/auth/types';
import { IDENTIFIER } from '@/infrastructure/config-service/http/router';
import {
  CircuitOpenError,
  ForbiddenError,
  NotFoundError,
  type PlatformError,
} from '@/workers/shared/error-handling/errors';
import { withTimeout } from '@/workers/shared/error-handling/retry';
import { ProviderError as AdapterError } from '@/workers/shared/provider-adapters/errors';
import { authenticate, findInstance } from './access';
import { answer, outliveAnswer, type RequestContext } from './context';
import { deliver } from './delivery';
import { generationTimeoutMs } from './env';
import { type Generation, type Order, successBody } from './generation';
import type { JobState } from './generation-job';
import { jobOf } from './job-client';
import { look, providerFor, retryOptions, type Time } from './provider';
import { toGenerationError } from './provider-errors';

/** Whoever moves a job on is given a little longer than it may take, before somebody else does. */
const HOLD_BEYOND_TIME_MS = 5_000;
/** The provider does not want us just now, which says nothing about the job. */
const REFUSALS_OF_THE_MOMENT: readonly string[] = ['authentication', 'payment', 'forbidden'];

type Step = Extract<JobState, { kind: 'completed' | 'failed' }> | { kind: 'pending' };
const PENDING: Step = { kind: 'pending' };

/** One look at the provider's job, and all that follows from it. */
async function moveOn(
  context: RequestContext,
  order: Order,
  providerJobId: string,
  time: Time,
): Promise<Step> {
  const provider = providerFor(context, order, time);
  const status = await look(provider, providerJobId);
  switch (status.status) {
    case 'pending':
      return PENDING;
    case 'failed':
      throw status.error;
    case 'completed': {
      // Whoever asks can ask again, and is not kept waiting until then.
      const retry = retryOptions(context, time);
      const delivery = await deliver(context, provider, order, providerJobId, time, retry);
      return { kind: 'completed', delivery };
    }
  }
}

function isOfTheMoment(failure: PlatformError): boolean {
  const { cause } = failure;
  return (
    failure.retryable ||
    failure.code === 'PROVIDER_TIMEOUT' ||
    failure instanceof CircuitOpenError ||
    (cause instanceof AdapterError && REFUSALS_OF_THE_MOMENT.includes(cause.kind))
  );
}

/** A failure of the moment leaves the job as it is; a fault of ours is told as such; any other is the job's end. */
function stepAfter(error: unknown): Step {
  const failure = toGenerationError(error);
  if (failure.code === 'INTERNAL_ERROR') {
    throw failure;
  }
  return isOfTheMoment(failure) ? PENDING : { kind: 'failed', reason: failure.code };
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
  const deadlineMs = Date.now() + timeoutMs;
  let step: Step = PENDING;
  try {
    step = await withTimeout(
      (signal) =>
        outliveAnswer(context, moveOn(context, order, providerJobId, { deadlineMs, signal })),
      timeoutMs,
      { pause: context.timer },
    ).catch(stepAfter);
  } finally {
    await (step.kind === 'completed'
      ? job.complete(step.delivery)
      : step.kind === 'failed'
        ? job.fail(step.reason)
        : job.letGo());
  }
  return step;
}

/** A project's key sees what its own project has generated. */
function assertOwnProject({ user }: AuthContext, generation: Generation): void {
  if (user.project_id !== null && user.project_id !== generation.projectId) {
    throw new ForbiddenError('this job belongs to another project');
  }
}

export async function getJob(context: RequestContext, jobId: string): Promise<Response> {
  const auth = await authenticate(context);
  // What is no identifier wakes no object.
  const record = IDENTIFIER.test(jobId) ? await jobOf(context.env, jobId).read() : null;
  if (record === null) {
    throw new NotFoundError('there is no such job');
  }
  const { generation, state } = record;
  const { instanceId, provider } = generation;
  const instance = await findInstance(context, auth, { instanceId, projectId: null });
  assertOwnProject(auth, generation);
  let step: Step = PENDING;
  if (state.kind === 'completed' || state.kind === 'failed') {
    step = state;
  } else if (state.kind === 'pending') {
    const apiKey = instance.api_keys[provider];
    // Without a key the provider cannot be asked just now.
    step =
      apiKey === undefined
        ? PENDING
        : await advance(context, { generation, apiKey, instance }, state.providerJobId);
  }
  return answer(context, {
    job_id: jobId,
    status: step.kind,
    ...(step.kind === 'completed' ? successBody(step.delivery) : {}),
    ...(step.kind === 'failed' ? { reason: step.reason } : {}),
  });
}
