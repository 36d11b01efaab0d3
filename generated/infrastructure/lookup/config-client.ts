// Asks the Config Service for an instance, as a service, and tells "there is none" from "it cannot say".
import * as v from 'valibot';
import { mapOf } from '@/infrastructure/config-service/http/objects';
import type { InstanceConfig } from './types';

export const CONFIG_SERVICE_TIMEOUT_MS = 3_000;

export type ConfigAnswer =
  | { kind: 'found'; config: InstanceConfig }
  | { kind: 'missing' }
  | { kind: 'unavailable'; reason: Error };

const ConfigBody = v.object({
  instance_id: v.string(),
  org_id: v.string(),
  name: v.string(),
  api_keys: mapOf(v.string(), v.string()),
  rate_limits: mapOf(v.string(), v.object({ rpm: v.number(), tpm: v.exactOptional(v.number()) })),
  worker_urls: mapOf(v.string(), v.string()),
  r2_bucket: v.nullable(v.string()),
  authorized_users: v.array(v.string()),
});

const NotFoundBody = v.object({ code: v.literal('NOT_FOUND') });

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
    const result = v.safeParse(ConfigBody, body);
    // Another instance's would be cached, and used, under the wrong name.
    if (!result.success || result.output.instance_id !== request.instanceId) {
      throw new Error('the Config Service answered with something else than the configuration');
    }
    return { kind: 'found', config: result.output };
  }
  // Only the service's own word counts: a 404 of something else on the way says nothing about the instance.
  if (response.status === 404 && v.is(NotFoundBody, body)) {
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
