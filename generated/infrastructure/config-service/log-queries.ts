// Reads the table `logs`, which the Workers write through workers/shared/logging: pages of entries, newest first.
import { parseJsonObject } from '@/infrastructure/database/json';
import type { Condition } from '@/infrastructure/database/pagination';
import type { JsonObject, Timestamp } from '@/infrastructure/database/types';

export const LOG_LEVELS = ['DEBUG', 'INFO', 'WARN', 'ERROR'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** An entry as it is stored. */
export interface StoredLogEntry {
  log_id: string;
  timestamp: Timestamp;
  level: LogLevel;
  message: string;
  request_id: string;
  instance_id: string | null;
  user_id: string | null;
  component: string;
  metadata: JsonObject;
}

export interface LogFilter {
  instanceId?: string | undefined;
  /** Only entries of the instances of this organisation. */
  orgId?: string | undefined;
  levels?: readonly LogLevel[] | undefined;
  component?: string | undefined;
  /** Regardless of case. */
  requestId?: string | undefined;
  userId?: string | undefined;
  /** Inclusive. */
  from?: Timestamp | undefined;
  /** Exclusive. */
  to?: Timestamp | undefined;
  /** Text within the message, regardless of the case of ASCII letters. */
  search?: string | undefined;
}

export interface LogPosition {
  timestamp: Timestamp;
  log_id: string;
}

export interface LogPage {
  items: StoredLogEntry[];
  /** Where the next page starts; null if this is the last one. */
  next: LogPosition | null;
}

type LogRow = Omit<StoredLogEntry, 'metadata'> & { metadata: string };

const COLUMNS =
  'log_id, timestamp, level, message, request_id, instance_id, user_id, component, metadata';
const ORDER = 'ORDER BY timestamp DESC, log_id DESC';

function equals(column: string, value: string | undefined): Condition[] {
  return value === undefined ? [] : [{ sql: `${column} = ?`, values: [value] }];
}

function levelConditions(levels: readonly LogLevel[] | undefined): Condition[] {
  if (levels === undefined) {
    return [];
  }
  // The plus keeps the index by level out of it: several levels of it would have to be sorted together.
  const column = levels.length === 1 ? 'level' : '+level';
  return [{ sql: `${column} IN (${levels.map(() => '?').join(', ')})`, values: [...levels] }];
}

function conditionsOf(filter: LogFilter, after: LogPosition | null): Condition[] {
  const { requestId, from, to, search } = filter;
  const conditions = [
    ...equals('instance_id', filter.instanceId),
    ...levelConditions(filter.levels),
    ...equals('component', filter.component),
    ...equals('user_id', filter.userId),
  ];
  if (requestId !== undefined) {
    conditions.push({ sql: 'request_id = ? COLLATE NOCASE', values: [requestId] });
  }
  if (from !== undefined) {
    conditions.push({ sql: 'timestamp >= ?', values: [from] });
  }
  if (to !== undefined) {
    conditions.push({ sql: 'timestamp < ?', values: [to] });
  }
  if (search !== undefined) {
    // Not LIKE: D1 takes patterns of 50 bytes only, and `%` and `_` are to mean themselves.
    conditions.push({ sql: 'instr(lower(message), lower(?)) > 0', values: [search] });
  }
  if (after !== null) {
    conditions.push({
      sql: '(timestamp, log_id) < (?, ?)',
      values: [after.timestamp, after.log_id],
    });
  }
  return conditions;
}

export interface LogStatement {
  sql: string;
  values: (string | number)[];
}

/**
 * The statement that reads a page and one row more, which tells whether another page follows. The newest entries of an
 * organisation are the newest of the newest of each of its instances: so its index is enough, however much others log.
 */
export function logStatement(
  filter: LogFilter,
  { limit, after }: { limit: number; after: LogPosition | null },
): LogStatement {
  const conditions = conditionsOf(filter, after);
  const values = conditions.flatMap((condition) => condition.values);
  const terms = conditions.map(({ sql }) => sql);
  if (filter.orgId === undefined || filter.instanceId !== undefined) {
    if (filter.orgId !== undefined) {
      terms.push(
        '(SELECT org_id FROM instances WHERE instances.instance_id = logs.instance_id) = ?',
      );
      values.push(filter.orgId);
    }
    const where = terms.length === 0 ? '' : `WHERE ${terms.join(' AND ')}`;
    return {
      sql: `SELECT ${COLUMNS} FROM logs ${where} ${ORDER} LIMIT ?`,
      values: [...values, limit + 1],
    };
  }
  const newestOfInstance = `SELECT entries.rowid FROM logs AS entries
    WHERE ${['entries.instance_id = instances.instance_id', ...terms].join(' AND ')} ${ORDER} LIMIT ?`;
  return {
    sql: `SELECT ${COLUMNS.replaceAll(/\w+/g, 'logs.$&')}
      FROM instances CROSS JOIN logs ON logs.rowid IN (${newestOfInstance})
      WHERE instances.org_id = ? ORDER BY logs.timestamp DESC, logs.log_id DESC LIMIT ?`,
    values: [...values, limit + 1, filter.orgId, limit + 1],
  };
}

export async function listLogs(
  database: D1Database,
  filter: LogFilter,
  page: { limit: number; after: LogPosition | null },
): Promise<LogPage> {
  const { sql, values } = logStatement(filter, page);
  const { results } = await database
    .prepare(sql)
    .bind(...values)
    .all<LogRow>();
  const items = results
    .slice(0, page.limit)
    .map((row) => ({ ...row, metadata: parseJsonObject(row.metadata) }));
  const last = items.at(-1);
  return {
    items,
    next:
      results.length > page.limit && last !== undefined
        ? { timestamp: last.timestamp, log_id: last.log_id }
        : null,
  };
}
