// The one entry that each answer to `POST /generate` leaves in the log, and that the metrics are counted from. It is on its
// way to the log's own storage before the answer leaves, but the answer does not wait for it: a log that fails, or hangs,
// holds nobody up.
import type { ConfigSource } from '@/infrastructure/lookup/types';
import {
  errorResponse,
  type PlatformError,
  toPlatformError,
} from '@/workers/shared/error-handling/errors';
import { logError } from '@/workers/shared/error-handling/middleware';
import type { RequestContext } from './context';

/** What is found out about a request on its way. */
export interface RequestNote {
  instance_id?: string | undefined;
  user_id?: string | undefined;
  provider?: string | undefined;
  model?: string | undefined;
  provider_attempts?: number | undefined;
  config_source?: ConfigSource | undefined;
  replayed?: true;
}

const SOURCE_NAMES: Record<ConfigSource, string> = {
  cache: 'fresh',
  service: 'fetched',
  stale: 'stale',
};

function writeEntry(
  context: RequestContext,
  note: RequestNote,
  status: number,
  failure: PlatformError | null,
): void {
  const { instance_id, user_id, config_source, ...known } = note;
  const logger = context.logger.child({ instance_id, user_id });
  const fields = Object.entries({
    event: 'request',
    route: '/generate',
    method: context.request.method,
    status,
    duration_ms: Math.max(0, Date.now() - context.startedAtMs),
    code: failure?.code,
    config_source: config_source && SOURCE_NAMES[config_source],
    ...known,
  }).filter(([, value]) => value !== undefined);
  const level = status >= 500 ? 'error' : status >= 400 ? 'warn' : 'info';
  logger[level]('request completed', Object.fromEntries(fields));
}

/** Runs the handler and answers for its errors, with an entry for either outcome. */
export async function logged(
  context: RequestContext,
  handler: (note: RequestNote) => Promise<Response>,
): Promise<Response> {
  const note: RequestNote = {};
  let response: Response;
  let failure: PlatformError | null = null;
  try {
    response = await handler(note);
  } catch (error) {
    failure = toPlatformError(error);
    response = errorResponse(failure, context.requestId);
    if (failure.status >= 500) {
      // What has happened, beside the entry that says that something has.
      const { instance_id, user_id } = note;
      logError(context.logger.child({ instance_id, user_id }), error, context.requestId);
    }
  }
  writeEntry(context, note, response.status, failure);
  return response;
}
