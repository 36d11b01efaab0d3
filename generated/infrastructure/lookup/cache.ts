// Keeps instance configurations in KV: fresh for five minutes, and for a day as a substitute while the Config Service is
// down. Freshness is a time inside the value, since an entry that KV had expired could not serve as a substitute.
//
// An entry holds provider keys, so it is encrypted, and bound to its name: it cannot be read from KV nor passed off as
// another instance's. A cache must never be the reason for a failure: what cannot be read counts as absent.
import { instanceConfigCacheKey } from '@/infrastructure/config-service/cache-entries';
import type { InstanceConfig } from './types';

export const FRESH_FOR_MS = 5 * 60 * 1000;
export const KEPT_FOR_SECONDS = 24 * 60 * 60;

const IV_BYTES = 12;
const SECRET_FORM = /^[A-Za-z0-9+/]{43}=$/;

interface Entry {
  stored_at_ms: number;
  config: InstanceConfig;
}

export interface CachedConfig {
  config: InstanceConfig;
  fresh: boolean;
}

export interface ConfigCacheOptions {
  kv: KVNamespace;
  /** 32 bytes in base64. */
  secret: string;
  now: () => Date;
  /** Told about faults of the cache. */
  report: (error: unknown) => void;
}

export interface ConfigCache {
  /** The copy of this instance's configuration, or null if there is none that can be read. */
  read: (instanceId: string) => Promise<CachedConfig | null>;
  write: (config: InstanceConfig) => Promise<void>;
  invalidate: (instanceId: string) => Promise<void>;
}

/** The key of this isolate, so that it is imported once and not for each request. */
let imported: { secret: string; key: Promise<CryptoKey> } | null = null;

async function importSecret(secret: string): Promise<CryptoKey> {
  if (!SECRET_FORM.test(secret)) {
    throw new Error('the secret CACHE_ENCRYPTION_KEY is missing or malformed');
  }
  if (imported?.secret !== secret) {
    const bytes = Uint8Array.from(atob(secret), (character) => character.charCodeAt(0));
    const key = crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt']);
    imported = { secret, key };
  }
  return await imported.key;
}

async function seal(key: CryptoKey, name: string, entry: Entry): Promise<ArrayBuffer> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const ciphertext = await crypto.subtle.encrypt(
    { name: 'AES-GCM', iv, additionalData: new TextEncoder().encode(name) },
    key,
    new TextEncoder().encode(JSON.stringify(entry)),
  );
  const sealed = new Uint8Array(IV_BYTES + ciphertext.byteLength);
  sealed.set(iv);
  sealed.set(new Uint8Array(ciphertext), IV_BYTES);
  return sealed.buffer;
}

async function unseal(key: CryptoKey, name: string, sealed: ArrayBuffer): Promise<Entry> {
  const plain = await crypto.subtle.decrypt(
    {
      name: 'AES-GCM',
      iv: sealed.slice(0, IV_BYTES),
      additionalData: new TextEncoder().encode(name),
    },
    key,
    sealed.slice(IV_BYTES),
  );
  // Only this file makes what decrypts, so its shape is known; a change of shape changes the entry's name.
  return JSON.parse(new TextDecoder().decode(plain)) as Entry;
}

/** Rejects if the secret is missing or malformed: nothing is cached in clear. */
export async function createConfigCache({
  kv,
  secret,
  now,
  report,
}: ConfigCacheOptions): Promise<ConfigCache> {
  const key = await importSecret(secret);
  return {
    async read(instanceId) {
      const name = instanceConfigCacheKey(instanceId);
      try {
        const sealed = await kv.get(name, 'arrayBuffer');
        if (sealed === null) {
          return null;
        }
        const { stored_at_ms, config } = await unseal(key, name, sealed);
        const age_ms = now().getTime() - stored_at_ms;
        return { config, fresh: age_ms >= 0 && age_ms < FRESH_FOR_MS };
      } catch (error) {
        report(error);
        return null;
      }
    },
    async write(config) {
      const name = instanceConfigCacheKey(config.instance_id);
      try {
        const sealed = await seal(key, name, { stored_at_ms: now().getTime(), config });
        await kv.put(name, sealed, { expirationTtl: KEPT_FOR_SECONDS });
      } catch (error) {
        report(error);
      }
    },
    async invalidate(instanceId) {
      try {
        await kv.delete(instanceConfigCacheKey(instanceId));
      } catch (error) {
        report(error);
      }
    },
  };
}
