// The names of fields in a provider's answer, which may come in any case.

/** How deep names are looked at: the link in `data[0].url` stands deepest. */
const DEPTH = 3;

/**
 * The same JSON with its names in lower case. Where two names become one, the field counts that had it from the beginning.
 */
export function withLowerCaseNames(value: unknown, depth = DEPTH): unknown {
  if (depth === 0 || typeof value !== 'object' || value === null) {
    return value;
  }
  if (Array.isArray(value)) {
    return value.map((item) => withLowerCaseNames(item, depth - 1));
  }
  const entries = Object.entries(value);
  const isInLowerCase = ([name]: [string, unknown]) => name === name.toLowerCase();
  const weakestFirst = [
    ...entries.filter((entry) => !isInLowerCase(entry)),
    ...entries.filter(isInLowerCase),
  ];
  return Object.fromEntries(
    weakestFirst.map(([name, field]) => [name.toLowerCase(), withLowerCaseNames(field, depth - 1)]),
  );
}
