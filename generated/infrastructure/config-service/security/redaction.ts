// Takes secrets out of texts before anybody sees them: by form (platform keys, Bearer headers), by what stands before them
// (`api_key=...`), and by value, for those that a Worker is bound to.

export const REDACTED = '[redacted]';

/** A shorter value would turn up in ordinary words. */
const SECRET_CHARACTERS_MIN = 8;

const SENSITIVE_NAME =
  /authorization|cookie|api[-_]?key|encryption[-_]?key|secret|passw(?:or)?d|credential|token$/i;

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/mas_[0-9A-Za-z]{16,}/g, REDACTED],
  // Not what documentation writes in place of a key.
  [/\b(Bearer)\s+(?!<|\[redacted\])[^\s"',;]+/gi, `$1 ${REDACTED}`],
  [
    /(authorization["']?\s*[:=]\s*["']?)(?!bearer\b|\[redacted\])(?:[a-z]+ +)?[^\s"',;]+/gi,
    `$1${REDACTED}`,
  ],
  [
    /((?:api[-_]?key|token|secret|passw(?:or)?d)["']?\s*[:=]\s*["']?)(?!\[redacted\])[^\s"',;&}]+/gi,
    `$1${REDACTED}`,
  ],
  // User and password in front of a host.
  [/(\/\/)[^/\s:@]+:[^/\s@]+@/g, `$1${REDACTED}@`],
];

/** True for the names of fields and bindings whose values are secrets, whatever they look like. */
export function isSensitiveName(name: string): boolean {
  return SENSITIVE_NAME.test(name);
}

export function redactText(text: string, secrets: readonly string[] = []): string {
  let redacted = text;
  for (const secret of secrets) {
    redacted = redacted.replaceAll(secret, REDACTED);
  }
  for (const [pattern, replacement] of PATTERNS) {
    redacted = redacted.replace(pattern, replacement);
  }
  return redacted;
}

/**
 * The secrets among a Worker's bindings: texts whose name says so. Some hold several, as `id:key,id:key`; then each key
 * is a secret by itself.
 */
export function secretsOfEnv(env: unknown): string[] {
  if (typeof env !== 'object' || env === null) {
    return [];
  }
  return Object.entries(env)
    .flatMap(([name, value]) => (isSensitiveName(name) && typeof value === 'string' ? [value] : []))
    .flatMap((value) => [value, ...value.split(','), ...value.split(/[,:]/)])
    .map((value) => value.trim())
    .filter((value) => value.length >= SECRET_CHARACTERS_MIN);
}
