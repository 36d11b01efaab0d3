// Whatever was thrown as plain JSON for the log: bounded, without cycles, without secrets.

import {
  isSensitiveName,
  REDACTED,
  redactText,
} from '@/infrastructure/config-service/security/redaction';
import type { JsonObject, JsonValue } from '@/infrastructure/database/types';

const TEXT_CHARACTERS_MAX = 2000;
const STACK_CHARACTERS_MAX = 4000;
const DEPTH_MAX = 6;
const ENTRIES_MAX = 30;
const CIRCULAR = '[circular]';
const TOO_DEEP = '[too deep]';

/** Own properties of errors that are worth a place beside name, message, stack and cause. */
const ERROR_FIELDS = ['code', 'status', 'retryable', 'retryAfterSeconds', 'attempts', 'details'];

interface Path {
  secrets: readonly string[];
  /** The objects around this one: meeting one of them again is a cycle. */
  ancestors: readonly object[];
}

function cut(text: string, charactersMax: number, secrets: readonly string[]): string {
  // Secrets first: a secret that is cut in two would not be recognised any more.
  const redacted = redactText(text, secrets);
  return redacted.length <= charactersMax ? redacted : `${redacted.slice(0, charactersMax)}…`;
}

/** Reads a property of something that may be a proxy or have a getter that throws. */
function readProperty(holder: object, name: string): unknown {
  try {
    return Reflect.get(holder, name);
  } catch {
    return '[unreadable]';
  }
}

function serializeObject(value: object, path: Path): JsonValue {
  if (path.ancestors.includes(value)) {
    return CIRCULAR;
  }
  if (path.ancestors.length >= DEPTH_MAX) {
    return TOO_DEEP;
  }
  const inner = { ...path, ancestors: [...path.ancestors, value] };
  if (value instanceof Error) {
    return serializeErrorObject(value, inner);
  }
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
  }
  if (Array.isArray(value)) {
    return value.slice(0, ENTRIES_MAX).map((item) => serializeValue(item, inner));
  }
  return Object.fromEntries(
    Object.keys(value)
      .slice(0, ENTRIES_MAX)
      .map((name) => [
        name,
        isSensitiveName(name) ? REDACTED : serializeValue(readProperty(value, name), inner),
      ]),
  );
}

function serializeValue(value: unknown, path: Path): JsonValue {
  if (typeof value === 'string') {
    return cut(value, TEXT_CHARACTERS_MAX, path.secrets);
  }
  if (value === null || typeof value === 'boolean') {
    return value;
  }
  if (typeof value === 'number' && Number.isFinite(value)) {
    return value;
  }
  return typeof value === 'object' ? serializeObject(value, path) : String(value);
}

function serializeErrorObject(error: Error, path: Path): JsonObject {
  const text = (name: string, charactersMax: number) =>
    cut(String(readProperty(error, name) ?? ''), charactersMax, path.secrets);
  const serialized: JsonObject = {
    name: text('name', TEXT_CHARACTERS_MAX),
    message: text('message', TEXT_CHARACTERS_MAX),
  };
  for (const field of ERROR_FIELDS) {
    const value = readProperty(error, field);
    const isEmpty = typeof value === 'object' && value !== null && Object.keys(value).length === 0;
    if (value !== undefined && !isEmpty) {
      serialized[field] = serializeValue(value, path);
    }
  }
  serialized.stack = text('stack', STACK_CHARACTERS_MAX);
  const cause = readProperty(error, 'cause');
  if (cause !== undefined) {
    serialized.cause = serializeValue(cause, path);
  }
  if (error instanceof AggregateError) {
    serialized.errors = serializeValue(error.errors, path);
  }
  return serialized;
}

/** `secrets` are values to be taken out wherever they stand, beside those that are recognised by their form. */
export function serializeError(thrown: unknown, secrets: readonly string[] = []): JsonObject {
  const path = { secrets, ancestors: [] };
  if (thrown instanceof Error) {
    const serialized = serializeObject(thrown, path);
    if (typeof serialized === 'object' && serialized !== null && !Array.isArray(serialized)) {
      return serialized;
    }
  }
  return {
    name: 'NotAnError',
    message: `something that is no error was thrown: ${typeof thrown}`,
    value: serializeValue(thrown, path),
  };
}
