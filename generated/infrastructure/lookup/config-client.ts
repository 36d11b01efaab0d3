// Asks the Config Service for an instance, as a service, and tells "there is none" from "it cannot say".
import * as z from 'zod';
import type { InstanceConfig } from './types';

export const CONFIG_SERVICE_TIMEOUT_MS = 3_000;

export type ConfigAnswer =
  | { kind: 'found'; config: InstanceConfig }
  | { kind: 'missing' }
  | { kind: 'unavailable'; reason: Error };

const ConfigBody = z.object({
  instance_id: z.string(),
  org_id: z.string(),
  name: z.string(),
  api_keys: z.record(z.string(), z.string()),
  rate_limits: z.record(z.string(), z.object({ rpm: z.number(), tpm: z.number().exactOptional() })),
  worker_urls: z.record(z.string(), z.string()),
  r2_bucket: z.string().nullable(),
  authorized_users: z.array(z.string()),
});

const NotFoundBody = z.object({ code: z.literal('NOT_FOUND') });

export interface ConfigRequest {
  service: { fetch: (request: Request) => Promise<Response> };
  serviceToken: string;
  instanceId: string;
  requestId: string;
  timeoutMs: number;
}

async function ask(request: ConfigRequest, signal: AbortSignal): Promise<ConfigAnswer> {
  const response = await request.service.fetch(
    new Request(`https://config-service/instance/${request.instanceId}`, {
      headers: {
        Authorization: `Bearer ${request.serviceToken}`,
        'X-Request-ID': request.requestId,
      },
      signal,
    }),
  );
  const body: unknown = await response.json();
  if (response.status === 200) {
    return { kind: 'found', config: ConfigBody.parse(body) };
  }
  // Only the service's own word counts: a 404 of something else on the way says nothing about the instance.
  if (response.status === 404 && NotFoundBody.safeParse(body).success) {
    return { kind: 'missing' };
  }
  throw new Error(`the Config Service answered ${response.status}`);
}

/** Never rejects: whatever goes wrong makes the service unavailable, for which there may be a substitute. */
export async function fetchInstanceConfig(request: ConfigRequest): Promise<ConfigAnswer> {
  const signal = AbortSignal.timeout(request.timeoutMs);
  const timeout = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () =>
      reject(new Error(`the Config Service did not answer within ${request.timeoutMs} ms`)),
    );
  });
  try {
    return await Promise.race([ask(request, signal), timeout]);
  } catch (error) {
    const reason = error instanceof Error ? error : new Error('the Config Service failed');
    return { kind: 'unavailable', reason };
  }
}
