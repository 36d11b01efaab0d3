// The configuration of an instance: what may be sent, how it is stored, how a change is merged, what a reader sees.
import * as v from 'valibot';
import type { JsonObject } from '@/infrastructure/database/queries';
import { invalid } from './http/errors';
import { decryptProviderKey, encryptProviderKey, type KeyRing } from './security/provider-keys';

const ENTRIES_MAX = 50;
const MASK = '****';
/** Of a shorter key, four characters would give too much away. */
const MASKED_TAIL_FROM_CHARACTERS = 16;

/** The name of a provider or of a type of worker. */
const EntryName = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9][a-z0-9_-]{0,31}$/, 'must be a lower-case name'),
);

function isWorkerUrl(text: string): boolean {
  if (!URL.canParse(text)) {
    return false;
  }
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') {
    return false;
  }
  const isLocal = /^(localhost|127\.0\.0\.1|.+\.localhost)$/.test(url.hostname);
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLocal);
}

const ProviderKey = v.pipe(
  v.string(),
  v.regex(/^[!-~]{1,512}$/, 'must be 1 to 512 visible ASCII characters'),
);
const wholeNumberUpTo = (max: number) =>
  v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(max));
const RateLimit = v.strictObject({
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

/** The `config` of a new instance. */
export const NewConfig = v.strictObject({
  api_keys: v.optional(v.record(EntryName, ProviderKey)),
  rate_limits: v.optional(v.record(EntryName, RateLimit)),
  worker_urls: v.optional(v.record(EntryName, WorkerUrl)),
  r2_bucket: v.nullish(BucketName),
});
export type NewConfig = v.InferOutput<typeof NewConfig>;

/** The `config` of a change: null removes an entry. */
export const ConfigChange = v.strictObject({
  api_keys: v.optional(v.record(EntryName, v.nullable(ProviderKey))),
  rate_limits: v.optional(v.record(EntryName, v.nullable(RateLimit))),
  worker_urls: v.optional(v.record(EntryName, v.nullable(WorkerUrl))),
  r2_bucket: v.nullish(BucketName),
});
export type ConfigChange = v.InferOutput<typeof ConfigChange>;

/** The column `instances.config`. It is checked when it is read: other hands may have written it. */
const StoredConfig = v.object({
  api_keys: v.record(v.string(), v.object({ ciphertext: v.string(), mask: v.string() })),
  rate_limits: v.record(
    v.string(),
    v.object({ rpm: v.number(), tpm: v.exactOptional(v.number()) }),
  ),
  worker_urls: v.record(v.string(), v.string()),
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
    throw invalid(`config.${field}: may have ${ENTRIES_MAX} entries`);
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
  const keys: Record<string, StoredConfig['api_keys'][string] | null> = {};
  for (const [provider, value] of Object.entries(change.api_keys ?? {})) {
    if (value === null) {
      keys[provider] = null;
    } else if (value !== present.api_keys[provider]?.mask) {
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
