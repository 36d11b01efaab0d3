// The log, for those who administer: pages of entries, newest first, as narrow as the query asks.
import * as v from 'valibot';
import { type AuthenticatedContext, answer } from '../http/context';
import { invalid } from '../http/errors';
import { decodeCursor, encodeCursor, readLimit } from '../http/paging';
import { readParameter } from '../http/query';
import { LOG_LEVELS, type LogFilter, type LogPosition, listLogs } from '../log-queries';
import { ownOrganization } from './scope';
import { loadManagedInstance, Time } from './support';

const FINGERPRINT_CHARACTERS = 16;

const LEVELS_MESSAGE = `must be of ${LOG_LEVELS.join(', ')}, separated by commas`;
const Levels = v.pipe(
  v.string(),
  v.transform((text) => [...new Set(text.split(','))].toSorted()),
  v.array(v.picklist(LOG_LEVELS, LEVELS_MESSAGE)),
);
const SEARCH_MESSAGE = 'must have 1 to 200 characters';
const SearchText = v.pipe(
  v.string(),
  v.minLength(1, SEARCH_MESSAGE),
  v.maxLength(200, SEARCH_MESSAGE),
);

function readFilter(context: AuthenticatedContext): LogFilter {
  const query = context.url.searchParams;
  const instanceId = query.get('instance_id') ?? undefined;
  return {
    instanceId,
    orgId: ownOrganization(context.principal),
    levels: readParameter(query, 'level', Levels),
    component: query.get('component') ?? undefined,
    requestId: query.get('request_id')?.toLowerCase(),
    userId: query.get('user_id') ?? undefined,
    from: readParameter(query, 'from', Time),
    to: readParameter(query, 'to', Time),
    search: readParameter(query, 'search', SearchText),
  };
}

/** Tells filters apart, so that a cursor is not taken for a place in another list. */
async function fingerprintOf(filter: LogFilter): Promise<string> {
  const text = JSON.stringify(Object.entries(filter).filter(([, value]) => value !== undefined));
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  const bytes = [...new Uint8Array(digest)];
  const hexadecimal = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return hexadecimal.slice(0, FINGERPRINT_CHARACTERS);
}

function readPosition(query: URLSearchParams, fingerprint: string): LogPosition | null {
  const cursor = query.get('cursor');
  if (cursor === null) {
    return null;
  }
  const [timestamp = '', log_id = '', madeFor] = decodeCursor(cursor, 3);
  if (madeFor !== fingerprint) {
    throw invalid('cursor: it belongs to other filters');
  }
  return { timestamp, log_id };
}

export async function getLogs(context: AuthenticatedContext): Promise<Response> {
  const query = context.url.searchParams;
  const limit = readLimit(query);
  const filter = readFilter(context);
  const fingerprint = await fingerprintOf(filter);
  const after = readPosition(query, fingerprint);
  if (filter.instanceId !== undefined) {
    await loadManagedInstance(context, filter.instanceId);
  }
  const { items, next } = await listLogs(context.env.DB, filter, { limit, after });
  const next_cursor =
    next === null ? null : encodeCursor([next.timestamp, next.log_id, fingerprint]);
  return answer(context, { items, next_cursor });
}
