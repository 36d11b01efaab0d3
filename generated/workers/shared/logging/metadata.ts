// Makes bounded JSON without secrets of whatever a caller passes as fields. It never throws: a log line is no reason to
// fail, and what cannot be read is named instead.
import {
  isSensitiveName,
  REDACTED,
  redactText,
} from '@/infrastructure/config-service/security/redaction';
import type { JsonObject, JsonValue } from '@/infrastructure/database/types';

export const TEXT_CHARACTERS_MAX = 2000;
const STACK_CHARACTERS_MAX = 4000;
const DEPTH_MAX = 10;
const ENTRIES_MAX = 50;
/** About as much as the whole of an entry's metadata may have; what comes after it is left out. */
const BUDGET_CHARACTERS = 16_000;

const CIRCULAR = '[circular]';
const TOO_DEEP = '[too deep]';
const LEFT_OUT = '[left out]';
const UNREADABLE = '[unreadable]';

/** Beside name, message, stack and cause. */
const ERROR_FIELDS = [
  'code',
  'status',
  'retryable',
  'retryAfterSeconds',
  'attempts',
  'details',
  'errors',
];

/** Secrets are taken out before the cut: half a secret would not be recognised. */
export function safeText(
  text: string,
  secrets: readonly string[],
  charactersMax = TEXT_CHARACTERS_MAX,
): string {
  const redacted = redactText(text, secrets);
  return redacted.length <= charactersMax ? redacted : `${redacted.slice(0, charactersMax)}…`;
}

/** Reads a property that may be a getter that throws. */
export function readProperty(holder: object, name: string): unknown {
  try {
    return Reflect.get(holder, name);
  } catch {
    return UNREADABLE;
  }
}

/** One walk through the fields of one entry. */
class Walk {
  private budget = BUDGET_CHARACTERS;

  constructor(private readonly secrets: readonly string[]) {}

  private text(text: string, charactersMax?: number): string {
    const safe = safeText(text, this.secrets, charactersMax);
    this.budget -= safe.length;
    return safe;
  }

  /** `ancestors` are the objects around this value: meeting one of them again is a cycle. */
  value(value: unknown, ancestors: readonly object[]): JsonValue {
    if (this.budget <= 0) {
      return LEFT_OUT;
    }
    switch (typeof value) {
      case 'string':
        return this.text(value);
      case 'object':
        return value === null ? null : this.readable(value, ancestors);
      case 'number':
        this.budget -= 8;
        return Number.isFinite(value) ? value : String(value);
      case 'boolean':
        this.budget -= 5;
        return value;
      case 'function':
        return `[function ${this.text(value.name)}]`;
      default:
        return this.text(String(value));
    }
  }

  /** A proxy may refuse whatever is asked of it; then the rest of the entry is still written. */
  private readable(value: object, ancestors: readonly object[]): JsonValue {
    try {
      return this.object(value, ancestors);
    } catch {
      return UNREADABLE;
    }
  }

  private object(value: object, ancestors: readonly object[]): JsonValue {
    if (ancestors.includes(value)) {
      return CIRCULAR;
    }
    if (ancestors.length >= DEPTH_MAX) {
      return TOO_DEEP;
    }
    const inner = [...ancestors, value];
    if (value instanceof Error) {
      return this.error(value, inner);
    }
    if (value instanceof Date) {
      return Number.isNaN(value.getTime()) ? String(value) : value.toISOString();
    }
    if (value instanceof URL) {
      return this.text(value.href);
    }
    if (value instanceof Headers || value instanceof Map) {
      return this.fields(
        [...value].map(([name, entry]) => [String(name), entry]),
        inner,
      );
    }
    if (Array.isArray(value) || value instanceof Set) {
      return [...value].slice(0, ENTRIES_MAX).map((item) => this.value(item, inner));
    }
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
      return `[${value.byteLength} bytes]`;
    }
    return this.fields(
      Object.keys(value).map((name) => [name, readProperty(value, name)]),
      inner,
    );
  }

  fields(entries: [string, unknown][], ancestors: readonly object[]): JsonObject {
    const fields: JsonObject = {};
    for (const [name, value] of entries.slice(0, ENTRIES_MAX)) {
      if (value !== undefined) {
        const isSecret = isSensitiveName(name) && value !== null;
        fields[this.text(name, 100)] = isSecret ? REDACTED : this.value(value, ancestors);
      }
    }
    return fields;
  }

  private error(error: Error, ancestors: readonly object[]): JsonObject {
    const text = (name: string, charactersMax?: number) =>
      this.text(String(readProperty(error, name) ?? ''), charactersMax);
    const serialized: JsonObject = { name: text('name'), message: text('message') };
    for (const field of ERROR_FIELDS) {
      const value = readProperty(error, field);
      const isEmpty =
        typeof value === 'object' && value !== null && Object.keys(value).length === 0;
      if (value !== undefined && !isEmpty) {
        serialized[field] = this.value(value, ancestors);
      }
    }
    serialized.stack = text('stack', STACK_CHARACTERS_MAX);
    const cause = readProperty(error, 'cause');
    if (cause !== undefined) {
      serialized.cause = this.value(cause, ancestors);
    }
    return serialized;
  }
}

/**
 * The fields without those named in `without`. `secrets` are values to be taken out wherever they stand, beside those that
 * are recognised by form or name.
 */
export function safeMetadata(
  fields: Readonly<Record<string, unknown>>,
  { secrets = [], without = [] }: { secrets?: readonly string[]; without?: readonly string[] } = {},
): JsonObject {
  const names = Object.keys(fields).filter((name) => !without.includes(name));
  return new Walk(secrets).fields(
    names.map((name) => [name, readProperty(fields, name)]),
    [fields],
  );
}
