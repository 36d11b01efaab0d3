// What the scheduled handler of a Worker calls, once a day: it deletes old log entries.
import { deleteOldLogs } from './storage';

export interface LogRetentionEnv {
  DB: D1Database;
}

/**
 * Deletes what is older than 30 days before `now`, and says in one line what it has done. It rejects if the database
 * fails, so that the run shows as failed; the next one makes up for it.
 */
export async function runRetention(
  env: LogRetentionEnv,
  now: number,
  writeLine: (line: string) => void = (line) => console.log(line),
): Promise<void> {
  const { deleted, isComplete } = await deleteOldLogs(env.DB, { now });
  writeLine(
    JSON.stringify({
      level: 'INFO',
      component: 'logging',
      message: 'old log entries deleted',
      metadata: { deleted, is_complete: isComplete },
    }),
  );
}
