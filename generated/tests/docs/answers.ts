// Compares what was answered with what a page shows, in which `<uuid>` and the like stand for values that differ.

const KINDS: Readonly<Record<string, RegExp>> = {
  uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
  time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
  number: /^-?\d+(\.\d+)?$/,
  key: /^mas_[0-9A-Za-z]{49}$/,
  url: /^https?:\/\/\S+$/,
  text: /^.+$/,
};

const IN_TEXT: Readonly<Record<string, string>> = {
  uuid: '[0-9a-f-]{36}',
  number: '\\d+',
  text: '.+',
  url: 'https?://\\S+',
};

function isKind(kind: string, value: unknown): boolean {
  return typeof value !== 'object' && KINDS[kind]?.test(String(value)) === true;
}

/** A text with placeholders in it, as a pattern for the whole of another. */
function patternOf(text: string): RegExp {
  const source = text
    .split(/<(\w+)>/)
    .map((part, index) =>
      index % 2 === 0
        ? part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
        : (IN_TEXT[part] ?? `<${part}>`),
    )
    .join('');
  return new RegExp(`^${source}$`, 'i');
}

/** Where `actual` differs from what is shown; empty if it does not. */
export function differences(shown: unknown, actual: unknown, path = 'answer'): string[] {
  if (typeof shown === 'string' && shown.includes('<')) {
    const kind = /^<(\w+)>$/.exec(shown)?.[1];
    const isMet =
      kind === undefined
        ? typeof actual === 'string' && patternOf(shown).test(actual)
        : isKind(kind, actual);
    return isMet ? [] : [`${path}: ${JSON.stringify(actual)} is not ${shown}`];
  }
  if (typeof shown !== 'object' || shown === null) {
    return shown === actual
      ? []
      : [`${path}: ${JSON.stringify(actual)} instead of ${JSON.stringify(shown)}`];
  }
  if (
    typeof actual !== 'object' ||
    actual === null ||
    Array.isArray(shown) !== Array.isArray(actual)
  ) {
    return [`${path}: ${JSON.stringify(actual)} is of another kind`];
  }
  const [expected, found] = [Object.entries(shown), new Map(Object.entries(actual))];
  return [
    ...expected.flatMap(([name, value]) =>
      found.has(name)
        ? // The words of an error are for people and may change; its code may not.
          differences(name === 'error' ? '<text>' : value, found.get(name), `${path}.${name}`)
        : [`${path}.${name} is missing`],
    ),
    ...[...found.keys()]
      .filter((name) => !Object.hasOwn(shown, name))
      .map((name) => `${path}.${name} is not shown`),
  ];
}

/** Each line that is shown is among the lines that came, in this order. */
export function missingLines(shown: string, actual: string): string[] {
  const lines = actual.split(/\r?\n/);
  return shown.split('\n').filter((line) => {
    const index = lines.findIndex((candidate) => patternOf(line).test(candidate));
    lines.splice(0, index + 1);
    return index < 0;
  });
}
