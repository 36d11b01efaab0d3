// Job ids say all that is needed to go on with a job: which model, since when, and the provider's own id for it.

export interface Job {
  model: string;
  submittedAtMs: number;
  /** As the provider knows it, or as the adapter invented it where the provider knows none. */
  nativeId: string;
}

export function writeJobId({ model, submittedAtMs, nativeId }: Job): string {
  return `${model}.${submittedAtMs}.${nativeId}`;
}

/** Null for what is no job id: it may have come from outside, and part of it becomes part of a URL. */
export function readJobId(jobId: string): Job | null {
  const parts = /^([a-z0-9-]{1,64})\.(\d{1,15})\.([\w-]{1,128})$/.exec(jobId);
  const [, model, submittedAt, nativeId] = parts ?? [];
  return model && submittedAt && nativeId
    ? { model, submittedAtMs: Number(submittedAt), nativeId }
    : null;
}
