// Reads and validates query parameters. Unknown ones are ignored; messages name the parameter and never repeat its value.
import * as v from 'valibot';
import { invalid } from './errors';

/** The first value of a parameter as `schema` wants it; undefined if it is not there. */
export function readParameter<Schema extends v.GenericSchema<string, unknown>>(
  query: URLSearchParams,
  name: string,
  schema: Schema,
): v.InferOutput<Schema> | undefined {
  const value = query.get(name);
  if (value === null) {
    return undefined;
  }
  const result = v.safeParse(schema, value);
  if (!result.success) {
    throw invalid(`${name}: ${result.issues.map(({ message }) => message).join('; ')}`);
  }
  return result.output;
}
