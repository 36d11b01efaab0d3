// The way to the object of a generation, and the id of one whose request carries a `request_id`.
import type { ImageGenEnv } from './env';
import type { GenerationJob } from './generation-job';

export function jobOf(env: ImageGenEnv, jobId: string): DurableObjectStub<GenerationJob> {
  return env.JOBS.get(env.JOBS.idFromName(`job:${jobId}`));
}

async function digest(text: string): Promise<string> {
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A UUID of version 8, which is made of what one likes. */
async function uuidOf(text: string): Promise<string> {
  const hex = await digest(text);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
}

/** The same caller and `request_id` always have the same job. */
export async function jobIdOfRequest(keyId: string, requestId: string): Promise<string> {
  return await uuidOf(`${keyId}/${requestId}`);
}

/** Each generation is charged once. A job's id may come again with another generation, once its day is over. */
export async function usageIdOf(generation: {
  jobId: string;
  startedAtMs: number;
}): Promise<string> {
  return await uuidOf(`${generation.jobId}/${generation.startedAtMs}`);
}

/** Two requests are the same if they ask for the same image for the same project of the same instance. */
export async function fingerprintOf(fields: {
  prompt: string;
  provider: string;
  model: string;
  instanceId: string;
  projectId: string | null;
}): Promise<string> {
  const { prompt, provider, model, instanceId, projectId } = fields;
  return await digest(JSON.stringify([prompt, provider, model, instanceId, projectId]));
}
