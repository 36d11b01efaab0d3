// The Worker that deletes old log entries by a schedule. It also hosts the buffer's class, for Workers that want to share
// one; a Worker may as well export `LogBuffer` itself.
import { deleteOldLogs } from './storage';

export { LogBuffer } from './log-buffer';

export interface LogRetentionEnv {
  DB: D1Database;
}

/** For any scheduled handler: deletes what is older than 30 days and says in one line what it has done. */
export async function runRetention(
  env: LogRetentionEnv,
  now: number,
  writeLine: (line: string) => void = (line) => console.log(line),
): Promise<void> {
  const { deleted, isComplete } = await deleteOldLogs(env.DB, { now });
  const metadata = { deleted, is_complete: isComplete };
  writeLine(
    JSON.stringify({
      level: 'INFO',
      component: 'logging',
      message: 'old log entries deleted',
      metadata,
    }),
  );
}

export default {
  // Awaited, so that a failed run shows as failed where the runs of the schedule are listed.
  scheduled: async (controller, env) => await runRetention(env, controller.scheduledTime),
  // It has no route; a script without a fetch handler cannot be tried out locally.
  fetch: () => new Response(null, { status: 404 }),
} satisfies ExportedHandler<LogRetentionEnv>;
