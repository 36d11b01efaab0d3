// Usage: what was spent, for billing and statistics.
import type { Timestamp, UsageLog } from '../types';

/** Records one use. Recording the same `log_id` again changes nothing, so that a retried write charges once. */
export async function insertUsageLog(database: D1Database, usage: UsageLog): Promise<void> {
  await database
    .prepare(
      `INSERT INTO usage_logs
         (log_id, org_id, instance_id, project_id, user_id, request_id, timestamp, provider, model,
          tokens_used, cost, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (log_id) DO NOTHING`,
    )
    .bind(
      usage.log_id,
      usage.org_id,
      usage.instance_id,
      usage.project_id,
      usage.user_id,
      usage.request_id,
      usage.timestamp,
      usage.provider,
      usage.model,
      usage.tokens_used,
      usage.cost,
      usage.created_at,
    )
    .run();
}

export interface UsageSummary {
  requests: number;
  tokens_used: number;
  /** Micro-dollars. */
  cost: number;
}

/** Sums the use of an instance from `from` (inclusive) to `to` (exclusive). */
export async function summarizeInstanceUsage(
  database: D1Database,
  instanceId: string,
  range: { from: Timestamp; to: Timestamp },
): Promise<UsageSummary> {
  const row = await database
    .prepare(
      `SELECT count(*) AS requests, coalesce(sum(tokens_used), 0) AS tokens_used, coalesce(sum(cost), 0) AS cost
       FROM usage_logs WHERE instance_id = ? AND timestamp >= ? AND timestamp < ?`,
    )
    .bind(instanceId, range.from, range.to)
    .first<UsageSummary>();
  return row ?? { requests: 0, tokens_used: 0, cost: 0 };
}
