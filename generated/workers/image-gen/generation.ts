// What one generation is, from its admission to its answer. Plain data: a job keeps it after its request has ended.
import type { ResolvedInstance } from '@/infrastructure/lookup/types';

export interface Generation {
  /**
   * One generation has one id: of its job and of its object in R2; that of its row of usage follows from it. Whatever is
   * done twice, after a crash or by two callers at once, is therefore stored and charged once.
   */
  jobId: string;
  requestId: string;
  orgId: string;
  instanceId: string;
  projectId: string | null;
  userId: string | null;
  provider: string;
  model: string;
  prompt: string;
  startedAtMs: number;
  /** What the rate limiter calls it; null before it was admitted. */
  admissionId: number | null;
  /** Where this Worker was reached, for images that it serves itself. */
  workerOrigin: string;
}

/** What the caller gets for it. */
export interface Delivery {
  image_url: string;
  r2_path: string;
  metadata: {
    provider: string;
    model: string;
    dimensions: string;
    generation_time_ms: number;
  };
}

/** A generation together with what it is made with. The provider's key is never stored. */
export interface Order {
  generation: Generation;
  apiKey: string;
  instance: ResolvedInstance;
}

export function successBody(delivery: Delivery): object {
  return { success: true, ...delivery };
}

export function statusUrlOf(jobId: string): string {
  return `/jobs/${jobId}`;
}
