// The flow of `POST /generate`, from the caller's key to the image's URL. What each step costs of D1, KV, R2 and Durable
// Objects is counted in a test.
import type { AuthContext } from '@/infrastructure/auth/types';
import { LookupError, type ResolvedInstance } from '@/infrastructure/lookup/types';
import {
  CircuitOpenError,
  ConflictError,
  type PlatformError,
  ProviderRejectedError,
  ProviderTimeoutError,
  RateLimitedError,
} from '@/workers/shared/error-handling/errors';
import { withTimeout } from '@/workers/shared/error-handling/retry';
import { requestAdmission } from '@/workers/shared/rate-limiter/client';
import { authenticate, findInstance, providerKeyOf } from './access';
import { answer, outliveAnswer, type RequestContext, report } from './context';
import { deliver } from './delivery';
import { generationTimeoutMs } from './env';
import { type Delivery, type Generation, type Order, statusUrlOf, successBody } from './generation';
import type { Claim, JobRecord } from './generation-job';
import { fingerprintOf, jobIdOfRequest, jobOf } from './job-client';
import {
  awaitCompletion,
  type Progress,
  patientRetryOptions,
  providerFor,
  submit,
  type Time,
} from './provider';
import { toGenerationError } from './provider-errors';
import type { RequestNote } from './request-log';
import { type GenerateInput, instanceNamedBy } from './validation';

/** A generation that may begin, or go on with what the provider has already. */
interface Start {
  order: Order;
  providerJobId: string | null;
  deadlineMs: number;
  /** With a `request_id`, its object is told how far it came. */
  isRemembered: boolean;
}

/** A place in the window. Without the limiter nothing is admitted: what it protects costs money. */
async function admit(context: RequestContext, order: Order): Promise<Order> {
  const { generation, instance } = order;
  const { instanceId, provider } = generation;
  const limits = instance.rate_limits[provider];
  const admission = await requestAdmission(context.env, { instanceId, provider, limits });
  if (!admission.allowed) {
    const { retryAfterSeconds } = admission;
    throw new RateLimitedError(
      `this instance has reached its limit for ${provider}; try again in ${retryAfterSeconds} s`,
      { retryAfterSeconds },
    );
  }
  return { ...order, generation: { ...generation, admissionId: admission.admissionId } };
}

/** One image by the provider that was asked for. Falling back to another one would go here, and nowhere else. */
async function produce(
  context: RequestContext,
  { order, providerJobId, isRemembered }: Start,
  progress: Progress,
  time: Time,
): Promise<Delivery> {
  const provider = providerFor(context, order, time);
  const id = providerJobId ?? (await submit(context, provider, order, progress, time));
  // Of an answer that came at once there is no job that anybody could go on with.
  if (!provider.adapter.answeredAtOnce(id)) {
    progress.providerJobId = id;
    if (isRemembered && providerJobId === null) {
      const { jobId, admissionId } = order.generation;
      await jobOf(context.env, jobId).noteProviderJob(id, admissionId);
    }
    await awaitCompletion(context, provider, id, time);
  }
  return await deliver(context, provider, order, id, time, patientRetryOptions(context, time));
}

function outOfTime(jobId: string): ProviderTimeoutError {
  return new ProviderTimeoutError('the image is not ready yet; ask for it at status_url', {
    answerFields: { job_id: jobId, status_url: statusUrlOf(jobId) },
  });
}

/** Produces the image in time, or leaves a job behind: it is remembered before the answer says so. */
async function run(context: RequestContext, start: Start, note: RequestNote): Promise<Delivery> {
  const { deadlineMs } = start;
  const { generation } = start.order;
  const progress: Progress = { attempts: 0, providerJobId: null };
  try {
    return await withTimeout(
      (signal) => outliveAnswer(context, produce(context, start, progress, { deadlineMs, signal })),
      Math.max(0, deadlineMs - Date.now()),
      { pause: context.timer },
    );
  } catch (error) {
    const failure = toGenerationError(error);
    if (failure.code !== 'PROVIDER_TIMEOUT') {
      throw failure;
    }
    await jobOf(context.env, generation.jobId).suspend(generation, progress.providerJobId);
    throw outOfTime(generation.jobId);
  } finally {
    note.provider_attempts = progress.attempts;
  }
}

/** What a repeated `request_id` gets: what it got the first time. */
function repeat({ state, generation, outlivedRequest }: JobRecord): Delivery {
  if (!outlivedRequest && state.kind === 'completed') {
    return state.delivery;
  }
  throw outlivedRequest
    ? outOfTime(generation.jobId)
    : new ProviderRejectedError(`${generation.provider} has refused this request as unsafe`);
}

/** What is left of a claim that ends without an image. Only what has used the provider up is kept. */
async function endClaim(
  context: RequestContext,
  jobId: string,
  failure: PlatformError,
): Promise<void> {
  const job = jobOf(context.env, jobId);
  switch (failure.code) {
    case 'PROVIDER_TIMEOUT':
      return;
    case 'PROVIDER_REJECTED':
      await job.fail(failure.code);
      return;
    default:
      await job.release(
        failure.code === 'INTERNAL_ERROR' ||
          failure.retryable ||
          failure instanceof CircuitOpenError,
      );
  }
}

/** With a `request_id`: one generation, however often the same request comes. */
async function generateOnce(
  context: RequestContext,
  begin: (claim: Extract<Claim, { kind: 'begin' | 'resume' }>) => Promise<Start>,
  { generation, deadlineMs }: { generation: Generation; deadlineMs: number },
  note: RequestNote,
): Promise<Delivery> {
  const job = jobOf(context.env, generation.jobId);
  const fingerprint = await fingerprintOf(generation);
  const claim: Claim = await job.claim(generation, fingerprint, deadlineMs);
  switch (claim.kind) {
    case 'other_request':
      throw new ConflictError('request_id: was used for another request');
    case 'running':
      throw new ConflictError('request_id: that request is still running');
    case 'known':
      note.replayed = true;
      return repeat(claim.record);
    default:
  }
  const start = await begin(claim).catch(async (error: unknown) => {
    // The provider was not asked: what it may have from an earlier attempt is still good.
    await job.release(true);
    throw error;
  });
  const delivery = await run(context, start, note).catch(async (error: unknown) => {
    await endClaim(context, generation.jobId, toGenerationError(error));
    throw error;
  });
  // The image is stored and charged. A repetition would find both, even if it did not find this.
  await job.complete(delivery).catch((error: unknown) => report(context, error));
  return delivery;
}

/** The instance is known for the log as soon as it was found, also to those who may not use it. */
async function findNotedInstance(
  context: RequestContext,
  auth: AuthContext,
  named: { instanceId: string | null; projectId: string | null },
  note: RequestNote,
): Promise<ResolvedInstance> {
  const noteFound = ({ instance_id, source }: Pick<ResolvedInstance, 'instance_id' | 'source'>) =>
    Object.assign(note, { instance_id, config_source: source });
  try {
    const instance = await findInstance(context, auth, named);
    noteFound(instance);
    return instance;
  } catch (error) {
    if (error instanceof LookupError && error.found) {
      noteFound(error.found);
    }
    throw error;
  }
}

export async function generate(
  context: RequestContext,
  input: GenerateInput,
  note: RequestNote,
): Promise<Response> {
  const { env, requestId, startedAtMs } = context;
  const { prompt, provider, model } = input;
  Object.assign(note, { provider, model });
  const instanceId = instanceNamedBy(context.request, input);
  const auth = await authenticate(context, input.apiKey);
  note.user_id = auth.user.user_id ?? undefined;
  // A project's key means its own project where it names none.
  const named = { instanceId, projectId: input.projectId ?? auth.user.project_id };
  const instance = await findNotedInstance(context, auth, named, note);
  const deadlineMs = startedAtMs + generationTimeoutMs(env);
  const isRemembered = input.requestId !== null;
  const generation: Generation = {
    jobId:
      input.requestId === null
        ? context.newId()
        : await jobIdOfRequest(auth.keyId, input.requestId),
    requestId,
    orgId: instance.org_id,
    instanceId: instance.instance_id,
    projectId: instance.project_id,
    userId: auth.user.user_id,
    provider,
    model,
    prompt,
    startedAtMs,
    admissionId: null,
    workerOrigin: context.url.origin,
  };
  const begin = async (claim: Extract<Claim, { kind: 'begin' | 'resume' }>): Promise<Start> => {
    const resumed = claim.kind === 'resume' ? claim : { generation, providerJobId: null };
    const apiKey = providerKeyOf(instance, provider);
    const order = await admit(context, { generation: resumed.generation, apiKey, instance });
    return { order, providerJobId: resumed.providerJobId, deadlineMs, isRemembered };
  };
  const delivery = isRemembered
    ? await generateOnce(context, begin, { generation, deadlineMs }, note)
    : await run(context, await begin({ kind: 'begin' }), note);
  return answer(context, successBody(delivery));
}
