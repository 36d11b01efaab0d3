// The configuration as JSON text, for those who would rather paste it than fill in rows.
import * as v from 'valibot';
import type { InstanceConfig } from '../api/types';
import { configDraft, configOf, type Draft } from './instance-draft';

const Config = v.strictObject({
  api_keys: v.optional(v.record(v.string(), v.string()), {}),
  rate_limits: v.optional(
    v.record(v.string(), v.strictObject({ rpm: v.number(), tpm: v.exactOptional(v.number()) })),
    {},
  ),
  worker_urls: v.optional(v.record(v.string(), v.string()), {}),
  r2_bucket: v.nullish(v.string(), null),
});

export const jsonOf = (draft: Draft): string => JSON.stringify(configOf(draft), null, 2);

export class JsonProblem extends Error {
  override readonly name = 'JsonProblem';
}

/** An array would pass for an object with the names 0, 1 and so on. */
const holdsArray = (value: unknown): boolean =>
  Array.isArray(value) ||
  (typeof value === 'object' && value !== null && Object.values(value).some(holdsArray));

/** The draft with its configuration from `text`. The rules for single values are checked afterwards, as in the form. */
export function withJson(draft: Draft, text: string): Draft {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new JsonProblem(`This is not JSON: ${error instanceof Error ? error.message : ''}`);
  }
  if (holdsArray(value)) {
    throw new JsonProblem('A configuration holds objects, and no list.');
  }
  const result = v.safeParse(Config, value);
  if (!result.success) {
    const [issue] = result.issues;
    throw new JsonProblem(`${v.getDotPath(issue) ?? 'The configuration'}: ${issue.message}`);
  }
  const masks = Object.fromEntries(
    draft.keys.flatMap(({ name, mask }) => (mask === null ? [] : [[name, mask]])),
  );
  const config: InstanceConfig = result.output;
  return { ...draft, ...configDraft(config, masks) };
}
