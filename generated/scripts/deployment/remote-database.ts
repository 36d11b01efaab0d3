// A D1 database over the Cloudflare API, in the form of the binding that Workers have, so that the scripts run the very
// queries that the Workers run.
import * as v from 'valibot';
import type { CloudflareApi } from './cloudflare-api';
import { CommandError } from './context';

const QueryResult = v.array(
  v.object({
    results: v.array(v.record(v.string(), v.unknown())),
    success: v.boolean(),
    meta: v.looseObject({ changes: v.optional(v.number(), 0) }),
  }),
);

export type QueryResult = v.InferOutput<typeof QueryResult>[number];

/** Runs a text of one or several statements; several are one transaction. */
export async function queryRemote(
  api: CloudflareApi,
  databaseId: string,
  sql: string,
  params: readonly unknown[] = [],
): Promise<QueryResult[]> {
  const { result } = await api.call('POST', `/d1/database/${databaseId}/query`, {
    sql,
    ...(params.length === 0 ? {} : { params }),
  });
  const checked = v.safeParse(QueryResult, result);
  if (!checked.success) {
    throw new CommandError('Cloudflare answered a query with something that is no result');
  }
  return checked.output;
}

class RemoteStatement {
  constructor(
    private readonly run_: (sql: string, params: readonly unknown[]) => Promise<QueryResult>,
    private readonly sql: string,
    private readonly params: readonly unknown[],
  ) {}

  bind(...params: unknown[]): RemoteStatement {
    return new RemoteStatement(this.run_, this.sql, params);
  }

  async all(): Promise<QueryResult> {
    return await this.run_(this.sql, this.params);
  }

  async run(): Promise<QueryResult> {
    return await this.run_(this.sql, this.params);
  }

  async first(): Promise<Record<string, unknown> | null> {
    return (await this.all()).results[0] ?? null;
  }
}

export function createRemoteDatabase(api: CloudflareApi, databaseId: string): D1Database {
  const runOne = async (sql: string, params: readonly unknown[]) => {
    const [result] = await queryRemote(api, databaseId, sql, params);
    if (result === undefined) {
      throw new CommandError('Cloudflare answered a query without a result');
    }
    return result;
  };
  const database = {
    prepare: (sql: string) => new RemoteStatement(runOne, sql, []),
  };
  // The queries of this project prepare, bind, and read all, the first or nothing; the rest of the interface, sessions and
  // dumps among it, has no counterpart over HTTP.
  return database as unknown as D1Database;
}
