// The first key of a new system: keys are made by authenticated calls, and somebody has to make the first.
import type { GeneratedKey } from './key-manager';

const IDENTIFIER = /^[a-z0-9][a-z0-9-]{0,62}$/;

export interface FirstKey {
  keyId: string;
  userId: string;
  createdAt: Date;
  generated: GeneratedKey;
}

/** The statement that stores the key, to be run by whoever may write to the database. It does not hold the key. */
export function firstKeyStatement({ keyId, userId, createdAt, generated }: FirstKey): string {
  // The values go into SQL text, so none may hold a quote; the user's id is the only one that comes from outside.
  for (const identifier of [keyId, userId]) {
    if (!IDENTIFIER.test(identifier)) {
      throw new RangeError(`not an identifier: ${JSON.stringify(identifier)}`);
    }
  }
  const values = [
    keyId,
    userId,
    'first key',
    generated.hash,
    generated.prefix,
    createdAt.toISOString(),
  ];
  return `INSERT INTO api_keys (key_id, user_id, name, key_hash, key_prefix, created_at)
VALUES (${values.map((value) => `'${value}'`).join(', ')});
`;
}
