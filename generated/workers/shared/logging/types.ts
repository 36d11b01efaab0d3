// What an entry of the log is, and what a logger is.
import { LOG_LEVELS, type LogLevel } from '@/infrastructure/config-service/log-queries';
import type { JsonObject } from '@/infrastructure/database/types';

export { LOG_LEVELS, type LogLevel };

export interface LogEntry {
  /** ISO 8601, UTC. */
  timestamp: string;
  level: LogLevel;
  message: string;
  request_id: string;
  instance_id?: string;
  user_id?: string;
  /** Such as `image-gen-worker`. */
  component: string;
  /** Everything else that was passed. */
  metadata?: JsonObject;
}

/** An entry on its way to the table. Its id makes a second arrival of it harmless. */
export interface IdentifiedLogEntry extends LogEntry {
  log_id: string;
}

export type LogFields = Record<string, unknown>;

/** What is bound to a logger, and goes into each of its entries. */
export interface LogContext {
  component?: string | undefined;
  request_id?: string | undefined;
  instance_id?: string | undefined;
  user_id?: string | undefined;
}

export interface Logger {
  debug: (message: string, fields?: LogFields) => void;
  info: (message: string, fields?: LogFields) => void;
  warn: (message: string, fields?: LogFields) => void;
  error: (message: string, fields?: LogFields) => void;
  /** A logger with more context, for the same request. */
  child: (context: LogContext) => Logger;
  /**
   * Resolves when everything logged so far is held durably, true, or could not be handed over, false. Nobody needs to
   * wait for it, except whoever promises in an answer that something has been logged.
   */
  flush: () => Promise<boolean>;
}

/** For entries that belong to no request. */
export const NO_REQUEST_ID = '00000000-0000-0000-0000-000000000000';
