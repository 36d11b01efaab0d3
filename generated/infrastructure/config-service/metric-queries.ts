// What metrics are made of: counts and sums that the database makes, one row for each instance and piece of time.
import type { Timestamp } from '@/infrastructure/database/types';

export interface MetricsWindow {
  /** Inclusive. */
  from: Timestamp;
  /** Exclusive. */
  to: Timestamp;
  bucketSeconds: number;
}

export interface TrafficRow {
  instance_id: string;
  /** Counted from the beginning of the window. */
  bucket: number;
  requests: number;
  errors: number;
  rate_limited: number;
  /** Of what was generated: the sum of the times, and how many they are. */
  duration_ms: number;
  durations: number;
}

export interface ProviderRow {
  provider: string;
  requests: number;
  tokens: number;
  cost_microdollars: number;
}

export interface InstanceOwner {
  instance_id: string;
  org_id: string;
}

/** Which of these instances exist, and whose they are. */
export async function findInstanceOwners(
  database: D1Database,
  instanceIds: readonly string[],
): Promise<InstanceOwner[]> {
  const { results } = await database
    .prepare(
      'SELECT instance_id, org_id FROM instances WHERE instance_id IN (SELECT value FROM json_each(?))',
    )
    .bind(JSON.stringify(instanceIds))
    .all<InstanceOwner>();
  return results;
}

/** The ids of all instances, or of those of one organisation, sorted. */
export async function listInstanceIds(
  database: D1Database,
  orgId: string | undefined,
): Promise<string[]> {
  const { results } = await database
    .prepare(
      'SELECT instance_id FROM instances WHERE ?1 IS NULL OR org_id = ?1 ORDER BY instance_id',
    )
    .bind(orgId ?? null)
    .all<{ instance_id: string }>();
  return results.map(({ instance_id }) => instance_id);
}

/**
 * D1 binds every number as a real one; without the cast, the division would give fractions of a bucket.
 * The condition on `event` is that of the index `logs_of_requests`, word for word: so it is found.
 */
export const TRAFFIC_SQL = `
  WITH requests AS (
    SELECT instance_id, (unixepoch(timestamp) - unixepoch(?2)) / CAST(?4 AS INTEGER) AS bucket,
      json_extract(metadata, '$.status') AS status,
      json_extract(metadata, '$.duration_ms') AS duration_ms
    FROM logs
    WHERE instance_id IN (SELECT value FROM json_each(?1)) AND timestamp >= ?2 AND timestamp < ?3
      AND json_extract(metadata, '$.event') = 'request'
      AND json_extract(metadata, '$.route') = '/generate'
  )
  SELECT instance_id, bucket, count(*) AS requests,
    count(CASE WHEN status >= 500 THEN 1 END) AS errors,
    count(CASE WHEN status = 429 THEN 1 END) AS rate_limited,
    total(CASE WHEN status = 200 THEN duration_ms END) AS duration_ms,
    count(CASE WHEN status = 200 THEN duration_ms END) AS durations
  FROM requests GROUP BY instance_id, bucket`;

const PROVIDERS_SQL = `
  SELECT provider, count(*) AS requests, sum(tokens_used) AS tokens, sum(cost) AS cost_microdollars
  FROM usage_logs
  WHERE instance_id IN (SELECT value FROM json_each(?1)) AND timestamp >= ?2 AND timestamp < ?3
  GROUP BY provider ORDER BY provider`;

/** Both in one batch, so that they tell of one moment. */
export async function readMetrics(
  database: D1Database,
  instanceIds: readonly string[],
  { from, to, bucketSeconds }: MetricsWindow,
): Promise<{ traffic: TrafficRow[]; providers: ProviderRow[] }> {
  const ids = JSON.stringify(instanceIds);
  const [traffic, providers] = await database.batch([
    database.prepare(TRAFFIC_SQL).bind(ids, from, to, bucketSeconds),
    database.prepare(PROVIDERS_SQL).bind(ids, from, to),
  ]);
  // Sound because these are the columns of the two statements.
  return {
    traffic: (traffic?.results ?? []) as TrafficRow[],
    providers: (providers?.results ?? []) as ProviderRow[],
  };
}
