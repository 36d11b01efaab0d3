// The data of a local system: database migrated and seeded, and a key for each of the seed's users.
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { unstable_splitSqlQuery } from 'wrangler';
import { firstKeyStatement } from '@/infrastructure/auth/bootstrap';
import { generateApiKey, hashApiKey } from '@/infrastructure/auth/key-manager';
import { readStoredConfig } from '@/infrastructure/config-service/instance-config';
import { findKeyHolderByHash, listInstances } from '@/infrastructure/database/queries';
import { CommandError } from '../deployment/context';
import { appliedMigrations, migrationScript, readMigrations } from '../deployment/migrations';
import type { Ideogram } from './ideogram';
import { readJson, writeJson } from './storage';

/** The users of seed.sql. */
const SUPERADMIN_ID = '3f0c8a52-6a0e-4d0b-9a52-0d6f3c1f7a01';
const USER_ID = '8b1d5e94-27c3-4f6e-b1a7-5c9e2d4f8b02';
/** More instances than anybody starts on one machine. */
const INSTANCES_MAX = 100;

const Keys = v.object({ superadmin: v.string(), user: v.string() });
/** `superadmin` may do everything; `user` may generate in the instance `development` only. */
export type LocalKeys = v.InferOutput<typeof Keys>;

export interface LocalInstance {
  instanceId: string;
  bucket: string | null;
}

async function runScript(database: D1Database, sql: string): Promise<void> {
  await database.batch(unstable_splitSqlQuery(sql).map((statement) => database.prepare(statement)));
}

export async function prepareDatabase(
  database: D1Database,
  { migrationsFolder, seedPath }: { migrationsFolder: string; seedPath: string },
): Promise<void> {
  const applied = await appliedMigrations(database);
  for (const migration of await readMigrations(migrationsFolder)) {
    if (!applied.has(migration.name)) {
      await runScript(database, migrationScript(migration));
    }
  }
  // Once only: whoever deletes one of the seed's instances does not want it back at the next start.
  const anyUser = await database.prepare('SELECT user_id FROM users LIMIT 1').first();
  if (anyUser === null) {
    await runScript(database, await readFile(seedPath, 'utf8'));
  }
}

async function isUsable(database: D1Database, key: string): Promise<boolean> {
  const holder = await findKeyHolderByHash(database, await hashApiKey(key));
  return holder !== null && holder.revoked_at === null;
}

/** A new key, stored by the statement that operators use. */
async function makeKey(database: D1Database, userId: string): Promise<string> {
  const generated = await generateApiKey();
  await runScript(
    database,
    firstKeyStatement({ keyId: randomUUID(), userId, createdAt: new Date(), generated }),
  );
  return generated.key;
}

/** The keys of the last start if they still open the doors, else new ones. */
export async function prepareKeys(database: D1Database, state: string): Promise<LocalKeys> {
  const path = join(state, 'keys.json');
  const present = await readJson(path, Keys);
  const keyFor = async (known: string | undefined, userId: string) =>
    known !== undefined && (await isUsable(database, known))
      ? known
      : await makeKey(database, userId);
  const keys = {
    superadmin: await keyFor(present?.superadmin, SUPERADMIN_ID),
    user: await keyFor(present?.user, USER_ID),
  };
  await writeJson(path, keys);
  return keys;
}

export async function readInstances(database: D1Database): Promise<LocalInstance[]> {
  const { items } = await listInstances(database, { limit: INSTANCES_MAX, after: null });
  return items.map(({ instance_id: instanceId, config }) => ({
    instanceId,
    bucket: readStoredConfig(config).r2_bucket,
  }));
}

/** Writes addresses and provider keys into the entries of the instances, by the API that people use. */
export async function configureInstances(
  configServiceUrl: string,
  key: string,
  workers: Readonly<Record<string, Record<string, string>>>,
  ideogram: Ideogram | null,
): Promise<void> {
  for (const [instanceId, urls] of Object.entries(workers)) {
    const response = await fetch(`${configServiceUrl}/instance/${instanceId}`, {
      method: 'PATCH',
      headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({
        config: {
          worker_urls: urls,
          // The provider `development` draws by itself and takes any key.
          api_keys: {
            development: 'local-development-key',
            ...(ideogram === null ? {} : { ideogram: ideogram.apiKey }),
          },
        },
      }),
    });
    if (!response.ok) {
      throw new CommandError(
        `the Config Service did not take the configuration of ${instanceId}: ${response.status} ${await response.text()}`,
      );
    }
  }
}
