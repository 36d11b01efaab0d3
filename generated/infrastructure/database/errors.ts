// Tells the constraint violations that a caller can answer for from all other database errors.

export type ConstraintKind = 'unique' | 'foreign_key' | 'check' | 'not_null';

const MARKS: readonly (readonly [string, ConstraintKind])[] = [
  ['UNIQUE constraint failed', 'unique'],
  ['FOREIGN KEY constraint failed', 'foreign_key'],
  ['CHECK constraint failed', 'check'],
  ['NOT NULL constraint failed', 'not_null'],
];

/** The violated kind of constraint, or null if `error` is something else. D1 tells it only in the message. */
export function violatedConstraint(error: unknown): ConstraintKind | null {
  if (!(error instanceof Error)) {
    return null;
  }
  const mark = MARKS.find(([text]) => error.message.includes(text));
  return mark === undefined ? null : mark[1];
}
