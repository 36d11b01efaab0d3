// Makes platform keys and stores what may be stored of them.
import { type ApiKey, insertApiKey, type KeyOwner } from '@/infrastructure/database/queries';
import { generateKey } from './credentials';

export interface KeyRequest {
  key_id: string;
  owner: KeyOwner;
  name: string;
  created_by: string | null;
  created_at: string;
  expires_at: string | null;
}

/** A new key with its stored record. The key is returned here and never again. */
export async function issueKey(
  database: D1Database,
  request: KeyRequest,
): Promise<{ key: string; record: ApiKey }> {
  const { key, hash, prefix } = await generateKey();
  const record = await insertApiKey(database, { ...request, key_hash: hash, key_prefix: prefix });
  return { key, record };
}
