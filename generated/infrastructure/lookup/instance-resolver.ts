// Decides which instance a request means and gets its configuration: from the cache if that is fresh, else from the
// Config Service, else from the cache however old. Access is decided last, by the caller's record of this moment, so that
// no cached copy widens it.
import { canAccessInstance, canAccessProject } from '@/infrastructure/auth/types';
import { IDENTIFIER } from '@/infrastructure/config-service/http/router';
import { SERVICE_TOKEN_CHARACTERS_MIN } from '@/infrastructure/config-service/security/authenticator';
import { getProjectById, type Project } from '@/infrastructure/database/queries';
import { type ConfigCache, createConfigCache } from './cache';
import { CONFIG_SERVICE_TIMEOUT_MS, fetchInstanceConfig } from './config-client';
import {
  type ConfigSource,
  type InstanceConfig,
  type LookupContext,
  type LookupEnv,
  LookupError,
  type ResolvedInstance,
} from './types';

export interface LookupOptions {
  /** Lets cache writes end after the answer. Without it they are waited for. */
  executionContext?: Pick<ExecutionContext, 'waitUntil'>;
  now?: () => Date;
  timeoutMs?: number;
  /** Told about faults that a cached copy, or doing without one, has covered. */
  report?: (error: unknown) => void;
}

interface Target {
  instanceId: string;
  project: Project | null;
}

function noInstance(instanceId: string): LookupError {
  return new LookupError('NOT_FOUND', `there is no instance ${instanceId}`);
}

async function loadProject(env: LookupEnv, projectId: string): Promise<Project> {
  const project = IDENTIFIER.test(projectId) ? await getProjectById(env.DB, projectId) : null;
  if (project === null) {
    throw new LookupError('NOT_FOUND', 'there is no such project');
  }
  return project;
}

/** The instance that the request names, else that of its project, else the only one within reach. */
async function findTarget(context: LookupContext, env: LookupEnv): Promise<Target> {
  const { auth } = context;
  const named = context.instanceId ?? null;
  const projectId = context.projectId ?? null;
  if (projectId !== null) {
    const project = await loadProject(env, projectId);
    if (named !== null && named !== project.instance_id) {
      throw new LookupError('VALIDATION_FAILED', 'this project belongs to another instance');
    }
    return { instanceId: project.instance_id, project };
  }
  if (named !== null) {
    if (!IDENTIFIER.test(named)) {
      throw new LookupError('NOT_FOUND', 'there is no such instance');
    }
    return { instanceId: named, project: null };
  }
  const [only, ...others] = auth.instances;
  if (only === undefined || others.length > 0) {
    throw new LookupError('VALIDATION_FAILED', 'name an instance, in X-Instance-ID or instance_id');
  }
  return { instanceId: only, project: null };
}

/** Without it the service would answer 401, which looks like a service that is down; it is a fault of our own. */
function serviceTokenOf({ SERVICE_TOKEN }: Partial<LookupEnv>): string {
  if (SERVICE_TOKEN === undefined || SERVICE_TOKEN.length < SERVICE_TOKEN_CHARACTERS_MIN) {
    throw new Error('the secret SERVICE_TOKEN is missing or malformed');
  }
  return SERVICE_TOKEN;
}

async function loadConfig(
  instanceId: string,
  context: LookupContext,
  env: LookupEnv,
  cache: ConfigCache,
  {
    defer,
    report,
    timeoutMs,
  }: Required<Pick<LookupOptions, 'report' | 'timeoutMs'>> & {
    defer: (work: Promise<void>) => Promise<void>;
  },
): Promise<{ config: InstanceConfig; source: ConfigSource }> {
  const cached = await cache.read(instanceId);
  if (cached?.fresh === true) {
    return { config: cached.config, source: 'cache' };
  }
  const answer = await fetchInstanceConfig({
    service: env.CONFIG_SERVICE,
    serviceToken: serviceTokenOf(env),
    instanceId,
    requestId: context.requestId,
    timeoutMs,
  });
  switch (answer.kind) {
    case 'found':
      await defer(cache.write(answer.config));
      return { config: answer.config, source: 'service' };
    case 'missing':
      if (cached !== null) {
        await defer(cache.invalidate(instanceId));
      }
      throw noInstance(instanceId);
    case 'unavailable':
      report(answer.reason);
      if (cached === null) {
        throw new LookupError(
          'CONFIG_UNAVAILABLE',
          'the configuration cannot be had at the moment; try again',
        );
      }
      return { config: cached.config, source: 'stale' };
  }
}

/**
 * The configuration of the instance that the request means. Rejects with a `LookupError` if there is none (404), it is
 * not for this caller (403), it is not clear which one is meant (400) or it cannot be had (503); with another error if
 * the database fails, or a secret that it needs is missing.
 */
export async function resolveInstance(
  context: LookupContext,
  env: LookupEnv,
  options: LookupOptions = {},
): Promise<ResolvedInstance> {
  const {
    executionContext,
    now = () => new Date(),
    timeoutMs = CONFIG_SERVICE_TIMEOUT_MS,
    report = (error) => console.error(error),
  } = options;
  const defer = async (work: Promise<void>) => {
    if (executionContext === undefined) {
      await work;
    } else {
      executionContext.waitUntil(work);
    }
  };
  const cache = await createConfigCache({
    kv: env.CONFIG_CACHE,
    secret: env.CACHE_ENCRYPTION_KEY,
    now,
    report,
  });
  const { instanceId, project } = await findTarget(context, env);
  const { config, source } = await loadConfig(instanceId, context, env, cache, {
    defer,
    report,
    timeoutMs,
  });
  const { auth } = context;
  const found = { instance_id: config.instance_id, source };
  if (!canAccessInstance(auth, config)) {
    throw new LookupError('FORBIDDEN', 'you have no access to this instance', found);
  }
  if (project !== null && !canAccessProject(auth, project)) {
    throw new LookupError('FORBIDDEN', 'you have no access to this project', found);
  }
  return { ...config, source, project_id: project?.project_id ?? auth.user.project_id };
}
