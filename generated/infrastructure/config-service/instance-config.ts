// The configuration of an instance: what may be sent, how it is stored, how a change is merged, what a reader sees.
import * as v from 'valibot';
import type { JsonObject } from '@/infrastructure/database/queries';
import { invalid } from './http/errors';
import { mapOf, objectOf } from './http/objects';
import { decryptProviderKey, encryptProviderKey, type KeyRing } from './security/provider-keys';

const ENTRIES_MAX = 50;
const TOO_MANY_ENTRIES = `may have ${ENTRIES_MAX} entries`;
const MASK = '****';
/** Of a shorter key, four characters would give too much away. */
const MASKED_TAIL_FROM_CHARACTERS = 16;

/** The name of a provider or of a type of worker. */
const EntryName = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9][a-z0-9_-]{0,31}$/, 'must be a lower-case name'),
);

/** Two slashes, a host, no user: the parser alone would mend or drop what does not belong into a URL. */
const ABSOLUTE_URL = /^https?:\/\/[^\s\p{Cc}\p{Cs}\\@/?#]+(?:[/?#][^\s\p{Cc}\p{Cs}\\]*)?$/iu;

function isWorkerUrl(text: string): boolean {
  if (!ABSOLUTE_URL.test(text) || !URL.canParse(text)) {
    return false;
  }
  const url = new URL(text);
  const isLocal = /^(localhost|127\.0\.0\.1|.+\.localhost)$/.test(url.hostname);
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLocal);
}

const ProviderKey = v.pipe(
  v.string(),
  v.regex(/^[!-~]{1,512}$/, 'must be 1 to 512 visible ASCII characters'),
);
/** A new instance has no key yet whose mask could be sent back. */
const NewProviderKey = v.pipe(
  ProviderKey,
  v.check((text) => !text.startsWith(MASK), 'is a mask'),
);
const wholeNumberUpTo = (max: number) =>
  v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(max));
const RateLimit = objectOf({
  rpm: wholeNumberUpTo(1_000_000),
  tpm: v.exactOptional(wholeNumberUpTo(1_000_000_000)),
});
const WorkerUrl = v.pipe(
  v.string(),
  v.maxLength(2048),
  v.check(isWorkerUrl, 'must be an https URL'),
);
const BucketName = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/, 'must be the name of an R2 bucket'),
);

function newMapOf<Value extends v.GenericSchema<unknown, unknown>>(value: Value) {
  return v.pipe(mapOf(EntryName, value), v.maxEntries(ENTRIES_MAX, TOO_MANY_ENTRIES));
}

/** The `config` of a new instance. */
export const NewConfig = objectOf({
  api_keys: v.optional(newMapOf(NewProviderKey)),
  rate_limits: v.optional(newMapOf(RateLimit)),
  worker_urls: v.optional(newMapOf(WorkerUrl)),
  r2_bucket: v.nullish(BucketName),
});
export type NewConfig = v.InferOutput<typeof NewConfig>;

/** The `config` of a change: null removes an entry. */
export const ConfigChange = objectOf({
  api_keys: v.optional(mapOf(EntryName, v.nullable(ProviderKey))),
  rate_limits: v.optional(mapOf(EntryName, v.nullable(RateLimit))),
  worker_urls: v.optional(mapOf(EntryName, v.nullable(WorkerUrl))),
  r2_bucket: v.nullish(BucketName),
});
export type ConfigChange = v.InferOutput<typeof ConfigChange>;

/** The column `instances.config`. It is checked when it is read: other hands may have written it. */
const StoredConfig = v.object({
  api_keys: mapOf(v.string(), v.object({ ciphertext: v.string(), mask: v.string() })),
  rate_limits: mapOf(v.string(), v.object({ rpm: v.number(), tpm: v.exactOptional(v.number()) })),
  worker_urls: mapOf(v.string(), v.string()),
  r2_bucket: v.nullable(v.string()),
});
export type StoredConfig = v.InferOutput<typeof StoredConfig>;

export const EMPTY_CONFIG: StoredConfig = {
  api_keys: {},
  rate_limits: {},
  worker_urls: {},
  r2_bucket: null,
};

export function readStoredConfig(config: JsonObject): StoredConfig {
  const result = v.safeParse(StoredConfig, { ...EMPTY_CONFIG, ...config });
  if (!result.success) {
    throw new Error(`a stored configuration is damaged at ${v.getDotPath(result.issues[0])}`);
  }
  return result.output;
}

/** What people see of a provider key. */
export function maskProviderKey(providerKey: string): string {
  return providerKey.length < MASKED_TAIL_FROM_CHARACTERS ? MASK : MASK + providerKey.slice(-4);
}

function mergeEntries<Value>(
  field: string,
  present: Readonly<Record<string, Value>>,
  change: Readonly<Record<string, Value | null>> | undefined,
): Record<string, Value> {
  const merged = new Map(Object.entries(present));
  for (const [name, value] of Object.entries(change ?? {})) {
    if (value === null) {
      merged.delete(name);
    } else {
      merged.set(name, value);
    }
  }
  if (merged.size > ENTRIES_MAX) {
    throw invalid(`config.${field}: ${TOO_MANY_ENTRIES}`);
  }
  return Object.fromEntries(merged);
}

/**
 * The stored configuration after `change`. A provider key that equals its own mask is left as it is, so that a form may
 * send back what it was shown.
 */
export async function applyConfigChange(
  instanceId: string,
  present: StoredConfig,
  change: ConfigChange,
  keyRing: () => Promise<KeyRing>,
): Promise<StoredConfig> {
  const presentMasks = new Map(Object.entries(maskedKeys(present)));
  const keys: Record<string, StoredConfig['api_keys'][string] | null> = {};
  for (const [provider, value] of Object.entries(change.api_keys ?? {})) {
    if (value === null) {
      keys[provider] = null;
    } else if (value !== presentMasks.get(provider)) {
      if (value.startsWith(MASK)) {
        throw invalid(`config.api_keys.${provider}: is a mask, but not that of the present key`);
      }
      keys[provider] = {
        ciphertext: await encryptProviderKey(await keyRing(), { instanceId, provider }, value),
        mask: maskProviderKey(value),
      };
    }
  }
  return {
    api_keys: mergeEntries('api_keys', present.api_keys, keys),
    rate_limits: mergeEntries('rate_limits', present.rate_limits, change.rate_limits),
    worker_urls: mergeEntries('worker_urls', present.worker_urls, change.worker_urls),
    r2_bucket: change.r2_bucket === undefined ? present.r2_bucket : change.r2_bucket,
  };
}

export function maskedKeys(config: StoredConfig): Record<string, string> {
  return Object.fromEntries(
    Object.entries(config.api_keys).map(([provider, { mask }]) => [provider, mask]),
  );
}

export async function decryptedKeys(
  instanceId: string,
  config: StoredConfig,
  ring: KeyRing,
): Promise<Record<string, string>> {
  return Object.fromEntries(
    await Promise.all(
      Object.entries(config.api_keys).map(async ([provider, { ciphertext }]) => [
        provider,
        await decryptProviderKey(ring, { instanceId, provider }, ciphertext),
      ]),
    ),
  );
}
