// Metrics, for those who administer: traffic in pieces of time without gaps, and what it cost.
import * as v from 'valibot';
import { type AuthenticatedContext, answer } from '../http/context';
import { forbidden, notFound } from '../http/errors';
import { readParameter } from '../http/query';
import {
  findInstanceOwners,
  listInstanceIds,
  type MetricsWindow,
  readMetrics,
  type TrafficRow,
} from '../metric-queries';
import { managesOrganization } from '../security/policy';
import { ownOrganization } from './scope';

const RANGES = {
  hour: { buckets: 60, bucketSeconds: 60 },
  day: { buckets: 96, bucketSeconds: 900 },
  week: { buckets: 168, bucketSeconds: 3600 },
} as const;

type RangeName = keyof typeof RANGES;
const Range = v.picklist(['hour', 'day', 'week'], 'must be hour, day or week');
const RANGE_DEFAULT: RangeName = 'hour';

/** The last piece holds the present moment; all of them begin at whole multiples of their length. */
function windowOf(range: RangeName, now: Date): MetricsWindow & { buckets: number } {
  const { buckets, bucketSeconds } = RANGES[range];
  const lengthMs = bucketSeconds * 1000;
  const to = (Math.floor(now.getTime() / lengthMs) + 1) * lengthMs;
  return {
    from: new Date(to - buckets * lengthMs).toISOString(),
    to: new Date(to).toISOString(),
    bucketSeconds,
    buckets,
  };
}

/** Those that the query names, if the caller may see all of them; else all within reach. Sorted. */
async function instancesOf(context: AuthenticatedContext): Promise<string[]> {
  const { principal, url, env } = context;
  const named = url.searchParams.get('instance_id');
  if (named === null) {
    return await listInstanceIds(env.DB, ownOrganization(principal));
  }
  const instanceIds = [...new Set(named.split(','))].toSorted();
  const owners = new Map(
    (await findInstanceOwners(env.DB, instanceIds)).map((row) => [row.instance_id, row.org_id]),
  );
  for (const instanceId of instanceIds) {
    if (!owners.has(instanceId)) {
      throw notFound('there is no such instance');
    }
  }
  for (const orgId of owners.values()) {
    if (!managesOrganization(principal, orgId)) {
      throw forbidden('this instance belongs to another organization');
    }
  }
  return instanceIds;
}

const rounded = (value: number, places: number) => Number(value.toFixed(places));

function mean(durationMs: number, count: number): number | null {
  return count === 0 ? null : rounded(durationMs / count, 1);
}

/** One number for each piece of time, also where nothing happened. */
function seriesOf(instanceId: string, buckets: number, rows: readonly TrafficRow[]): object {
  const byBucket = new Map(rows.map((row) => [row.bucket, row]));
  const each = <Value>(pick: (row: TrafficRow) => Value, nothing: Value): Value[] =>
    Array.from({ length: buckets }, (_, bucket) => {
      const row = byBucket.get(bucket);
      return row === undefined ? nothing : pick(row);
    });
  return {
    instance_id: instanceId,
    requests: each((row) => row.requests, 0),
    errors: each((row) => row.errors, 0),
    rate_limited: each((row) => row.rate_limited, 0),
    response_ms: each((row) => mean(row.duration_ms, row.durations), null),
  };
}

function sumOf<Row>(rows: readonly Row[], pick: (row: Row) => number): number {
  return rows.reduce((sum, row) => sum + pick(row), 0);
}

export async function getMetrics(context: AuthenticatedContext): Promise<Response> {
  const range = readParameter(context.url.searchParams, 'range', Range) ?? RANGE_DEFAULT;
  const instanceIds = await instancesOf(context);
  const window = windowOf(range, context.now);
  const { traffic, providers } = await readMetrics(context.env.DB, instanceIds, window);
  const rowsOf = new Map<string, TrafficRow[]>(instanceIds.map((instanceId) => [instanceId, []]));
  for (const row of traffic) {
    rowsOf.get(row.instance_id)?.push(row);
  }
  const requests = sumOf(traffic, (row) => row.requests);
  const errors = sumOf(traffic, (row) => row.errors);
  return answer(context, {
    range,
    from: window.from,
    to: window.to,
    bucket_seconds: window.bucketSeconds,
    series: instanceIds.map((instanceId) =>
      seriesOf(instanceId, window.buckets, rowsOf.get(instanceId) ?? []),
    ),
    totals: {
      requests,
      errors,
      rate_limited: sumOf(traffic, (row) => row.rate_limited),
      error_rate: requests === 0 ? null : rounded(errors / requests, 4),
      response_ms: mean(
        sumOf(traffic, (row) => row.duration_ms),
        sumOf(traffic, (row) => row.durations),
      ),
      cost_microdollars: sumOf(providers, (row) => row.cost_microdollars),
    },
    providers,
  });
}
