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

/** The same caller and `request_id` always have the same job, as a UUID of version 8, which is made of what one likes. */
export async function jobIdOfRequest(keyId: string, requestId: string): Promise<string> {
  const hex = await digest(`${keyId}/${requestId}`);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
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
