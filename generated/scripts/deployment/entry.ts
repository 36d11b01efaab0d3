// The entry of an instance in the database: what a file wants of it, what it has, and the change from one to the other.
import {
  applyConfigChange,
  type ConfigChange,
  decryptedKeys,
  EMPTY_CONFIG,
  readStoredConfig,
  type StoredConfig,
} from '@/infrastructure/config-service/instance-config';
import { type KeyRing, readKeyRing } from '@/infrastructure/config-service/security/provider-keys';
import {
  getInstanceById,
  type Instance,
  insertInstance,
  updateInstance,
  violatedConstraint,
} from '@/infrastructure/database/queries';
import { type CommandContext, CommandError } from './context';
import type { InstanceFile } from './instance-file';

/** Writers of one instance at one time are few. */
const WRITE_ATTEMPTS = 5;

export type KeyRingSource = () => Promise<KeyRing>;

/** The keys that encrypt provider keys, imported when they are first needed. */
export function keyRingOf(context: CommandContext): KeyRingSource {
  let ring: Promise<KeyRing> | null = null;
  return () => {
    ring ??= readKeyRing(context.environment.PROVIDER_KEY_ENCRYPTION_KEYS);
    return ring;
  };
}

/** Refuses before the first call what would fail at the first key. */
export async function requireKeyRing(file: InstanceFile, keyRing: KeyRingSource): Promise<void> {
  if (Object.keys(file.config.api_keys ?? {}).length > 0) {
    await keyRing().catch(() => {
      throw new CommandError(
        'PROVIDER_KEY_ENCRYPTION_KEYS is missing or malformed: <key id>:<32 bytes in base64>, as the Config Service has it. Provider keys are stored encrypted with it.',
      );
    });
  }
}

export interface Difference {
  /** For people: what changes, without any secret. */
  lines: string[];
  name: string | null;
  change: ConfigChange;
}

function isEqual(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}

function shown(value: unknown): string {
  return value === undefined || value === null ? 'nothing' : JSON.stringify(value);
}

function limit(value: { rpm: number; tpm?: number | undefined } | null | undefined): unknown {
  return value === undefined || value === null ? null : [value.rpm, value.tpm ?? null];
}

/** What `file` wants changed of `present`. Provider keys are compared in clear and shown by name only. */
export async function differencesOf(
  file: InstanceFile,
  present: Instance,
  keyRing: KeyRingSource,
): Promise<Difference> {
  const stored = readStoredConfig(present.config);
  const lines: string[] = [];
  const change: ConfigChange = {};
  const name = file.name === null || file.name === present.name ? null : file.name;
  if (name !== null) {
    lines.push(`name: ${shown(present.name)} -> ${shown(name)}`);
  }
  const { api_keys: keys = {}, rate_limits: limits = {}, worker_urls: urls = {} } = file.config;
  const wantsKeys = Object.values(keys).some((key) => key !== null);
  const presentKeys = wantsKeys
    ? await decryptedKeys(present.instance_id, stored, await keyRing())
    : {};
  for (const [provider, key] of Object.entries(keys)) {
    const has = stored.api_keys[provider] !== undefined;
    if (key === null ? has : key !== presentKeys[provider]) {
      lines.push(`api_keys.${provider}: ${key === null ? 'removed' : has ? 'replaced' : 'added'}`);
      change.api_keys = { ...change.api_keys, [provider]: key };
    }
  }
  for (const [provider, wanted] of Object.entries(limits)) {
    if (!isEqual(limit(wanted), limit(stored.rate_limits[provider]))) {
      lines.push(
        `rate_limits.${provider}: ${shown(stored.rate_limits[provider])} -> ${shown(wanted)}`,
      );
      change.rate_limits = { ...change.rate_limits, [provider]: wanted };
    }
  }
  for (const [type, wanted] of Object.entries(urls)) {
    if ((wanted ?? null) !== (stored.worker_urls[type] ?? null)) {
      lines.push(`worker_urls.${type}: ${shown(stored.worker_urls[type])} -> ${shown(wanted)}`);
      change.worker_urls = { ...change.worker_urls, [type]: wanted };
    }
  }
  const bucket = file.config.r2_bucket;
  if (bucket !== undefined && bucket !== stored.r2_bucket) {
    lines.push(`r2_bucket: ${shown(stored.r2_bucket)} -> ${shown(bucket)}`);
    change.r2_bucket = bucket;
  }
  return { lines, name, change };
}

/** Makes the entry. One that somebody else has made in the meantime is left alone. */
export async function createEntry(
  database: D1Database,
  file: InstanceFile,
  keyRing: KeyRingSource,
  now: Date,
): Promise<void> {
  const config: StoredConfig = await applyConfigChange(
    file.instanceId,
    EMPTY_CONFIG,
    file.config,
    keyRing,
  );
  try {
    await insertInstance(database, {
      instance_id: file.instanceId,
      org_id: file.orgId,
      name: file.name ?? file.instanceId,
      config,
      created_at: now.toISOString(),
    });
  } catch (error) {
    // Also the outcome of a call that was repeated because its first answer got lost.
    if (violatedConstraint(error) !== 'unique') {
      throw error;
    }
  }
}

/** Applies `change` to the entry as it stands at that moment, so that nobody else's edit is lost. */
export async function changeEntry(
  database: D1Database,
  instanceId: string,
  name: string | null,
  change: ConfigChange,
  keyRing: KeyRingSource,
  now: Date,
): Promise<void> {
  for (let attempt = 0; attempt < WRITE_ATTEMPTS; attempt += 1) {
    const present = await getInstanceById(database, instanceId);
    if (present === null) {
      throw new CommandError(`the entry of ${instanceId} is gone: somebody deleted it just now`);
    }
    const config = await applyConfigChange(
      instanceId,
      readStoredConfig(present.config),
      change,
      keyRing,
    );
    const written = await updateInstance(database, instanceId, present.version, {
      name: name ?? present.name,
      config,
      updated_at: now.toISOString(),
    });
    if (written !== null) {
      return;
    }
  }
  throw new CommandError(`the entry of ${instanceId} is being changed by others; run it again`);
}

export function presentConfig(instance: Instance): StoredConfig {
  return readStoredConfig(instance.config);
}
