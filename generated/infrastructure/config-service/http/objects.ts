// Schemas of JSON objects. Those of valibot take arrays for objects, and leave out entries whose names the language uses
// itself (`constructor`, `__proto__`): what a caller has sent would be lost without a word.
import * as v from 'valibot';

const NO_OBJECT = 'must be an object';

export function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Our own words for what valibot finds: its own would repeat what was received, which may be a secret. */
export function describeKind(issue: v.BaseIssue<unknown>): string {
  return issue.expected === 'never' ? 'is not known' : `must be ${issue.expected ?? 'valid'}`;
}

/** An object with these fields and no others. `entries` are the fields, for a schema that has them and more. */
export function objectOf<const Fields extends v.ObjectEntries>(fields: Fields) {
  const schema = v.strictObject(fields);
  const checked = v.pipe(v.custom<v.InferInput<typeof schema>>(isObject, NO_OBJECT), schema);
  return Object.assign(checked, { entries: fields });
}

/** An object from names to values; each name and each value is checked, and none is left out. */
export function mapOf<
  Name extends v.GenericSchema<string, string>,
  Value extends v.GenericSchema<unknown, unknown>,
>(name: Name, value: Value) {
  return v.pipe(
    v.custom<Record<string, v.InferInput<Value>>>(isObject, NO_OBJECT),
    v.rawTransform(({ dataset, addIssue }): Record<string, v.InferOutput<Value>> => {
      const input = dataset.value;
      const entries: [string, v.InferOutput<Value>][] = [];
      for (const [key, entry] of Object.entries(input)) {
        const checkedName = v.safeParse(name, key, { message: describeKind });
        const checkedValue = v.safeParse(value, entry, { message: describeKind });
        for (const { message, path } of [
          ...(checkedName.issues ?? []),
          ...(checkedValue.issues ?? []),
        ]) {
          const item = { type: 'object', origin: 'value', input, key, value: entry } as const;
          addIssue({ message, path: [item, ...(path ?? [])] });
        }
        if (checkedName.success && checkedValue.success) {
          entries.push([checkedName.output, checkedValue.output]);
        }
      }
      return Object.fromEntries(entries);
    }),
  );
}
