// The logger: makes an entry of a message and its fields, and gives it to the sink. It never throws and never delays an
// answer.
import { env as workerEnv } from 'cloudflare:workers';
import { secretsOfEnv } from '@/infrastructure/config-service/security/redaction';
import { newLogId } from './log-id';
import { readProperty, safeMetadata, safeText } from './metadata';
import { createSink, type LogEnv, type LogSink } from './sink';
import {
  type IdentifiedLogEntry,
  LOG_LEVELS,
  type LogContext,
  type LogFields,
  type Logger,
  type LogLevel,
  NO_REQUEST_ID,
} from './types';

export type { LogEnv } from './sink';
export type { LogEntry, LogFields, Logger, LogLevel } from './types';

export interface LoggerOptions extends LogContext {
  component: string;
  /** The bindings of the Worker. Its secrets are taken out of every entry. */
  env?: LogEnv | undefined;
  /** Keeps the isolate alive until entries are handed over. */
  ctx?: Pick<ExecutionContext, 'waitUntil'> | undefined;
  /** Instead of `env.LOG_LEVEL`. */
  level?: LogLevel;
  now?: () => number;
  /** Where entries go that the buffer does not take. */
  writeLine?: (line: string) => void;
}

const COLUMN_CHARACTERS_MAX = 100;
const CONTEXT_FIELDS = ['request_id', 'instance_id', 'user_id'] as const;

/** What is bound to the Worker that this runs in. The types of its bindings are not known here. */
const bindings = () => workerEnv as unknown as LogEnv;

function levelOf(name: string | undefined): LogLevel {
  const wanted = name?.trim().toUpperCase();
  return LOG_LEVELS.find((level) => level === wanted) ?? 'INFO';
}

interface Machinery {
  sink: LogSink;
  lowest: LogLevel;
  secrets: readonly string[];
  now: () => number;
  /** Whether `component` among the fields takes its column: where the context does not say it. */
  takesComponent: boolean;
}

/** The context with what is given more; what is not given covers nothing. */
function extend(context: LogContext, more: LogContext, secrets: readonly string[]): LogContext {
  const extended = { ...context };
  for (const name of [...CONTEXT_FIELDS, 'component'] as const) {
    const value: unknown = readProperty(more, name);
    if (typeof value === 'string' && value !== '') {
      extended[name] = safeText(value, secrets, COLUMN_CHARACTERS_MAX);
    }
  }
  return extended;
}

/** The columns that the fields of a call name. What is not text stays with the other fields, unless it is nothing. */
function columnsOf(fields: LogFields, { takesComponent, secrets }: Machinery): LogContext {
  const { component, ...columns } = extend({}, fields, secrets);
  return takesComponent && component !== undefined ? { ...columns, component } : columns;
}

function entryOf(
  level: LogLevel,
  message: string,
  fields: LogFields,
  context: LogContext,
  machinery: Machinery,
): IdentifiedLogEntry {
  const { now, secrets } = machinery;
  const nowMs = now();
  const columns = columnsOf(fields, machinery);
  const { request_id, instance_id, user_id, component } = { ...context, ...columns };
  const metadata = safeMetadata(fields, { secrets, without: Object.keys(columns) });
  return {
    log_id: newLogId(nowMs),
    timestamp: new Date(nowMs).toISOString(),
    level,
    message: safeText(String(message), secrets),
    request_id: request_id ?? NO_REQUEST_ID,
    ...(instance_id === undefined ? {} : { instance_id }),
    ...(user_id === undefined ? {} : { user_id }),
    component: component ?? 'unknown',
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
  };
}

function loggerOf(context: LogContext, machinery: Machinery): Logger {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(machinery.lowest)) {
      return;
    }
    try {
      machinery.sink.push(entryOf(level, message, fields ?? {}, context, machinery));
    } catch {
      // A log line is never a reason to fail.
    }
  };
  return {
    debug: at('DEBUG'),
    info: at('INFO'),
    warn: at('WARN'),
    error: at('ERROR'),
    child: (more) => loggerOf(extend(context, more, machinery.secrets), machinery),
    flush: () => machinery.sink.flush(),
  };
}

export function createLogger({
  component,
  request_id,
  instance_id,
  user_id,
  env = bindings(),
  ctx,
  level,
  now = Date.now,
  writeLine,
}: LoggerOptions): Logger {
  const secrets = secretsOfEnv(env);
  const context = extend({}, { component, request_id, instance_id, user_id }, secrets);
  return loggerOf(context, {
    sink: createSink(env, ctx, writeLine),
    lowest: level ?? levelOf(env.LOG_LEVEL),
    secrets,
    now,
    takesComponent: false,
  });
}

/** A logger without context: each call brings its own in its fields, `component` included. */
function plainLogger(): Logger {
  // Made anew for each entry: what serves one request must not be used by another one.
  const make = () => {
    const env = bindings();
    return loggerOf(
      {},
      {
        sink: createSink(env, undefined),
        lowest: levelOf(env.LOG_LEVEL),
        secrets: secretsOfEnv(env),
        now: Date.now,
        takesComponent: true,
      },
    );
  };
  return {
    debug: (message, fields) => make().debug(message, fields),
    info: (message, fields) => make().info(message, fields),
    warn: (message, fields) => make().warn(message, fields),
    error: (message, fields) => make().error(message, fields),
    child: (context) => make().child(context),
    // Each entry is on its way by itself; nothing waits here.
    flush: () => Promise.resolve(true),
  };
}

export const logger: Logger = plainLogger();
