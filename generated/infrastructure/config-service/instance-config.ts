// The configuration of an instance: what may be sent, how it is stored, how a change is merged, what a reader sees.
import * as z from 'zod';
import type { JsonObject } from '@/infrastructure/database/queries';
import { invalid } from './http/errors';
import { decryptProviderKey, encryptProviderKey, type KeyRing } from './security/provider-keys';

const ENTRIES_MAX = 50;
const MASK = '****';
/** Of a shorter key, four characters would give too much away. */
const MASKED_TAIL_FROM_CHARACTERS = 16;

/** The name of a provider or of a type of worker. */
const EntryName = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,31}$/, 'must be a lower-case name');

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

const ProviderKey = z.string().regex(/^[!-~]{1,512}$/, 'must be 1 to 512 visible ASCII characters');
const RateLimit = z.strictObject({
  rpm: z.int().min(1).max(1_000_000),
  tpm: z.int().min(1).max(1_000_000_000).exactOptional(),
});
const WorkerUrl = z.string().max(2048).refine(isWorkerUrl, 'must be an https URL');
const BucketName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/, 'must be the name of an R2 bucket');

function entriesOf<Value extends z.ZodType>(value: Value) {
  return z.record(EntryName, value);
}

/** The `config` of a new instance. */
export const NewConfig = z.strictObject({
  api_keys: entriesOf(ProviderKey).optional(),
  rate_limits: entriesOf(RateLimit).optional(),
  worker_urls: entriesOf(WorkerUrl).optional(),
  r2_bucket: BucketName.nullish(),
});
export type NewConfig = z.output<typeof NewConfig>;

/** The `config` of a change: null removes an entry. */
export const ConfigChange = z.strictObject({
  api_keys: entriesOf(ProviderKey.nullable()).optional(),
  rate_limits: entriesOf(RateLimit.nullable()).optional(),
  worker_urls: entriesOf(WorkerUrl.nullable()).optional(),
  r2_bucket: BucketName.nullish(),
});
export type ConfigChange = z.output<typeof ConfigChange>;

/** The column `instances.config`. It is checked when it is read: other hands may have written it. */
const StoredConfig = z.object({
  api_keys: z.record(z.string(), z.object({ ciphertext: z.string(), mask: z.string() })),
  rate_limits: z.record(z.string(), z.object({ rpm: z.number(), tpm: z.number().exactOptional() })),
  worker_urls: z.record(z.string(), z.string()),
  r2_bucket: z.string().nullable(),
});
export type StoredConfig = z.output<typeof StoredConfig>;

export const EMPTY_CONFIG: StoredConfig = {
  api_keys: {},
  rate_limits: {},
  worker_urls: {},
  r2_bucket: null,
};

export function readStoredConfig(config: JsonObject): StoredConfig {
  return StoredConfig.parse({ ...EMPTY_CONFIG, ...config });
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
