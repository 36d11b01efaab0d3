// The way from a logger to the buffer: what one request logs is handed over in as few messages as possible, after the
// answer if need be, and falls back to the console if the buffer cannot be reached.
import { waitUntil } from 'cloudflare:workers';
import type { LogBuffer } from './log-buffer';
import { BATCH_ENTRIES } from './storage';
import type { IdentifiedLogEntry } from './types';

/** What logging uses of a Worker's bindings. */
export interface LogEnv {
  /** Without it, entries go to the console. */
  LOG_BUFFER?: DurableObjectNamespace<LogBuffer> | undefined;
  /** The lowest level that is stored: `DEBUG`, `INFO` (the default), `WARN` or `ERROR`. */
  LOG_LEVEL?: string | undefined;
}

export interface LogSink {
  push: (entry: IdentifiedLogEntry) => void;
  flush: () => Promise<boolean>;
}

const HANDOVER_ATTEMPTS = 3;

/** Entries of one instance meet in one buffer, so that they fill batches together, and instances do not wait for each other. */
export function bufferName(instanceId: string | undefined): string {
  return instanceId === undefined ? 'common' : `instance:${instanceId}`;
}

/** Without a context of its own, work is attached to the request that is running. */
function keepAlive(ctx: Pick<ExecutionContext, 'waitUntil'> | undefined, work: Promise<unknown>) {
  try {
    if (ctx === undefined) {
      waitUntil(work);
    } else {
      ctx.waitUntil(work);
    }
  } catch {
    // The request is over, or there is none: the work runs on as long as the isolate lets it.
  }
}

export function createSink(
  env: LogEnv,
  ctx: Pick<ExecutionContext, 'waitUntil'> | undefined,
  writeLine: (line: string) => void = (line) => console.log(line),
): LogSink {
  const buffer = env.LOG_BUFFER;
  let pending: IdentifiedLogEntry[] = [];
  let handingOver: Promise<boolean> | null = null;

  function writeLines(entries: readonly IdentifiedLogEntry[]): void {
    for (const entry of entries) {
      writeLine(JSON.stringify(entry));
    }
  }

  async function send(
    namespace: DurableObjectNamespace<LogBuffer>,
    entries: IdentifiedLogEntry[],
  ): Promise<boolean> {
    const instanceId = entries.find((entry) => entry.instance_id !== undefined)?.instance_id;
    for (let attempt = 1; ; attempt += 1) {
      try {
        // A stub that has failed stays broken: each attempt takes a new one.
        const stub = namespace.get(namespace.idFromName(bufferName(instanceId)));
        const { lost } = await stub.append(entries);
        return lost === 0;
      } catch (error) {
        if (attempt === HANDOVER_ATTEMPTS) {
          const cause = error instanceof Error ? error.name : typeof error;
          writeLine(JSON.stringify({ level: 'ERROR', message: 'the log buffer fails', cause }));
          writeLines(entries);
          return false;
        }
      }
    }
  }

  async function handOver(): Promise<boolean> {
    // What is logged in one go, before anything is awaited, goes in one message.
    await Promise.resolve();
    let isComplete = true;
    while (pending.length > 0) {
      const entries = pending.slice(0, BATCH_ENTRIES);
      pending = pending.slice(BATCH_ENTRIES);
      if (buffer === undefined) {
        writeLines(entries);
      } else if (!(await send(buffer, entries))) {
        isComplete = false;
      }
    }
    handingOver = null;
    return isComplete;
  }

  return {
    push(entry) {
      pending.push(entry);
      if (handingOver === null) {
        handingOver = handOver();
        keepAlive(ctx, handingOver);
      }
    },
    async flush() {
      return await (handingOver ?? Promise.resolve(true));
    },
  };
}
