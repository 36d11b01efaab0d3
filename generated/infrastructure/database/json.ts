// Reads JSON columns. The schema's CHECKs guarantee their outer shape, so a mismatch is a damaged database.
import type { JsonObject, JsonValue } from './types';

export function parseJsonObject(text: string): JsonObject {
  const value: JsonValue = JSON.parse(text);
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new TypeError('a JSON column holds something other than an object');
  }
  return value;
}

/** Parses an array of text made by `json_group_array`. */
export function parseTextArray(text: string): string[] {
  const value: JsonValue = JSON.parse(text);
  if (!Array.isArray(value)) {
    throw new TypeError('a JSON aggregate is not an array');
  }
  return value.map(String);
}
