// From a provider's finished job to what the caller is promised: the image in R2, and its row of usage in D1. Both carry
// the id of the generation, so that doing it again changes nothing.
import { isRetryable, type RetryOptions, withRetry } from '@/workers/shared/error-handling/retry';
import type { ProviderAdapter } from '@/workers/shared/provider-adapters/base-adapter';
import type { ImageResult } from '@/workers/shared/provider-adapters/types';
import { uploadImage } from '@/workers/shared/r2-manager/storage';
import { settleAdmission } from '@/workers/shared/rate-limiter/client';
import { type RequestContext, report } from './context';
import type { Delivery, Generation, Order } from './generation';
import type { Provider, Time } from './provider';
import { toGenerationError } from './provider-errors';
import { recordUsage } from './usage';

/** Copies the image from the provider into R2: its link there expires, and never goes to the caller. */
async function storeImage(
  context: RequestContext,
  adapter: ProviderAdapter,
  { generation, instance }: Order,
  result: ImageResult,
  retry: RetryOptions,
): Promise<{ image_url: string; r2_path: string; dimensions: string }> {
  const { instanceId, projectId, provider, model, prompt, startedAtMs, jobId } = generation;
  return await withRetry(
    async () => {
      const image = await adapter.fetchImage(result);
      const { cdn_url, r2_path } = await uploadImage(
        image.body,
        {
          instanceId,
          projectId,
          filename: 'image',
          contentType: image.contentType,
          metadata: { provider, model, prompt },
          r2Bucket: instance.r2_bucket,
          workerOrigin: generation.workerOrigin,
          sizeBytes: image.sizeBytes ?? undefined,
          now: new Date(startedAtMs),
          identity: jobId,
        },
        context.env,
      );
      return { image_url: cdn_url, r2_path, dimensions: image.dimensions };
    },
    { ...retry, shouldRetry: (error) => isRetryable(toGenerationError(error)) },
  );
}

/** Where a provider counts no tokens there is nothing to settle. */
function settleTokens(context: RequestContext, generation: Generation, tokens: number): void {
  const { admissionId, instanceId, provider } = generation;
  if (admissionId === null || tokens === 0) {
    return;
  }
  const settled = settleAdmission(context.env, {
    instanceId,
    provider,
    admissionId,
    tokensUsed: tokens,
  });
  context.executionContext.waitUntil(settled.catch((error: unknown) => report(context, error)));
}

export async function deliver(
  context: RequestContext,
  { adapter }: Provider,
  order: Order,
  providerJobId: string,
  time: Time,
  /** How often the image is fetched. */
  retry: RetryOptions,
): Promise<Delivery> {
  const { generation } = order;
  const result = await adapter.fetchResult(providerJobId);
  const stored = await storeImage(context, adapter, order, result, retry);
  // Nobody is charged for what comes too late to be answered: whoever asks for the job is.
  time.signal.throwIfAborted();
  await recordUsage(context, generation, result, time);
  settleTokens(context, generation, result.usage.tokens);
  return {
    image_url: stored.image_url,
    r2_path: stored.r2_path,
    metadata: {
      provider: result.provider,
      model: result.model,
      dimensions: stored.dimensions,
      generation_time_ms: result.metadata.generation_time_ms,
    },
  };
}
