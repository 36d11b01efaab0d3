// The flow of `POST /generate`, from the caller's key to the image's URL. What each step costs of D1, KV, R2 and Durable
// Objects is counted in a test.
import {
  ConflictError,
  PlatformError,
  ProviderTimeoutError,
  RateLimitedError,
} from '@/workers/shared/error-handling/errors';
import { withTimeout } from '@/workers/shared/error-handling/retry';
import { requestAdmission } from '@/workers/shared/rate-limiter/client';
import { authenticate, findInstance, providerKeyOf } from './access';
import { answer, type RequestContext, report } from './context';
import { deliver } from './delivery';
import { generationTimeoutMs } from './env';
import { type Delivery, type Generation, type Order, statusUrlOf, successBody } from './generation';
import type { JobRecord } from './generation-job';
import { fingerprintOf, jobIdOfRequest, jobOf } from './job-client';
import { adapterFor, awaitCompletion, type Progress, submit } from './provider';
import { toGenerationError } from './provider-errors';
import type { RequestNote } from './request-log';
import type { GenerateInput } from './validation';

/** What may still happen to a request after its time: whoever takes it over waits for so long. */
const HOLD_BEYOND_TIME_MS = 30_000;

/** A job that the request carries on with: one that the provider has already, or none. */
interface Start {
  order: Order;
  providerJobId: string | null;
  /** With a `request_id`, its object is told how far it came. */
  isRemembered: boolean;
}

async function admit(context: RequestContext, { generation, instance }: Order): Promise<number> {
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
  return admission.admissionId;
}

/** One image by the provider that was asked for. Falling back to another one would go here, and nowhere else. */
async function produce(
  context: RequestContext,
  { order, providerJobId, isRemembered }: Start,
  progress: Progress,
  deadlineMs: number,
): Promise<Delivery> {
  const adapter = adapterFor(context, order);
  progress.providerJobId = providerJobId;
  if (progress.providerJobId === null) {
    progress.providerJobId = await submit(context, adapter, order, progress, deadlineMs);
    if (isRemembered) {
      const { jobId, admissionId } = order.generation;
      await jobOf(context.env, jobId).noteProviderJob(progress.providerJobId, admissionId);
    }
  }
  await awaitCompletion(context, adapter, progress.providerJobId, deadlineMs);
  return await deliver(context, adapter, order, progress.providerJobId, deadlineMs);
}

/** What becomes of the work when its request does not wait for it any longer. */
async function followUp(
  context: RequestContext,
  jobId: string,
  work: Promise<Delivery>,
  progress: Progress,
): Promise<void> {
  const job = jobOf(context.env, jobId);
  try {
    await job.complete(await work);
  } catch (error) {
    if (progress.providerJobId === null) {
      await job.fail(toGenerationError(error).code);
    } else {
      await job.noteProviderJob(progress.providerJobId);
    }
  }
}

/** The time is over: the job is remembered before the answer says so. */
async function endInJob(
  context: RequestContext,
  generation: Generation,
  work: Promise<Delivery>,
  progress: Progress,
): Promise<never> {
  const { jobId } = generation;
  await jobOf(context.env, jobId).suspend(generation, progress.providerJobId);
  context.executionContext.waitUntil(
    followUp(context, jobId, work, progress).catch((error: unknown) => report(context, error)),
  );
  throw pendingError(jobId);
}

function pendingError(jobId: string): ProviderTimeoutError {
  return new ProviderTimeoutError('the image is not ready yet; ask for it at status_url', {
    answerFields: { job_id: jobId, status_url: statusUrlOf(jobId) },
  });
}

async function run(
  context: RequestContext,
  start: Start,
  note: RequestNote,
  timeoutMs: number,
): Promise<Delivery> {
  const { generation } = start.order;
  const deadlineMs = context.startedAtMs + timeoutMs;
  const progress: Progress = { attempts: undefined, providerJobId: null };
  const work = produce(context, start, progress, deadlineMs);
  try {
    return await withTimeout(() => work, Math.max(0, deadlineMs - Date.now()), {
      pause: context.timer,
    });
  } catch (error) {
    const failure = toGenerationError(error);
    if (failure.code === 'PROVIDER_TIMEOUT') {
      return await endInJob(context, generation, work, progress);
    }
    throw failure;
  } finally {
    note.provider_attempts = progress.attempts;
  }
}

/** What a repeated `request_id` gets: the same image, or the same failure. */
function repeat({ state, generation }: JobRecord): Delivery {
  switch (state.kind) {
    case 'completed':
      return state.delivery;
    case 'failed':
      throw new PlatformError(state.reason, 'this request has failed before');
    default:
      throw pendingError(generation.jobId);
  }
}

/** With a `request_id`: one generation, however often the same request comes. */
async function generateOnce(
  context: RequestContext,
  order: Order,
  note: RequestNote,
  timeoutMs: number,
): Promise<Delivery> {
  const { generation } = order;
  const job = jobOf(context.env, generation.jobId);
  const fingerprint = await fingerprintOf(generation);
  const claim = await job.claim(generation, fingerprint, timeoutMs + HOLD_BEYOND_TIME_MS);
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
  try {
    const start: Start =
      claim.kind === 'resume'
        ? {
            order: { ...order, generation: claim.generation },
            providerJobId: claim.providerJobId,
            isRemembered: true,
          }
        : { order: await admitted(context, order), providerJobId: null, isRemembered: true };
    const delivery = await run(context, start, note, timeoutMs);
    await job.complete(delivery);
    return delivery;
  } catch (error) {
    const { code, retryable } = toGenerationError(error);
    if (code !== 'PROVIDER_TIMEOUT') {
      await job.release(code === 'INTERNAL_ERROR' || retryable);
    }
    throw error;
  }
}

async function admitted(context: RequestContext, order: Order): Promise<Order> {
  const admissionId = await admit(context, order);
  return { ...order, generation: { ...order.generation, admissionId } };
}

export async function generate(
  context: RequestContext,
  input: GenerateInput,
  note: RequestNote,
): Promise<Response> {
  const { env, requestId } = context;
  const { prompt, provider, model } = input;
  Object.assign(note, { provider, model });
  const auth = await authenticate(context, input.apiKey);
  note.user_id = auth.user.user_id ?? undefined;
  const instance = await findInstance(context, auth, input);
  note.instance_id = instance.instance_id;
  note.config_source = instance.source;
  const apiKey = providerKeyOf(instance, provider);
  const timeoutMs = generationTimeoutMs(env);
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
    startedAtMs: context.startedAtMs,
    admissionId: null,
    workerOrigin: context.url.origin,
  };
  const order: Order = { generation, apiKey, instance };
  const delivery =
    input.requestId === null
      ? await run(
          context,
          { order: await admitted(context, order), providerJobId: null, isRemembered: false },
          note,
          timeoutMs,
        )
      : await generateOnce(context, order, note, timeoutMs);
  return answer(context, successBody(delivery));
}
