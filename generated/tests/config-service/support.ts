// A Config Service on a fresh, seeded database, with a clock that tests move and callers of every kind.
import { env } from 'cloudflare:workers';
import { expect } from 'vitest';
import type { ConfigServiceEnv } from '@/infrastructure/config-service/env';
import { createConfigService } from '@/infrastructure/config-service/index';
import {
  type GeneratedKey,
  generateKey,
} from '@/infrastructure/config-service/security/credentials';
import { freshDatabase, SEED, statementsOf } from '@/tests/database/support';

export const START = '2026-03-01T10:00:00.000Z';
export const SERVICE_TOKEN = 'service-token-of-the-tests-0123456789';
/** The bytes 0 to 31, and 32 times the byte 1. */
export const ENCRYPTION_KEYS =
  'first:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,second:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=';

/** Beside the seed data: an admin of the same organisation, and another organisation with one of everything. */
export const IDS = {
  ...SEED,
  orgAdminId: 'org-admin',
  otherOrgId: 'acme',
  otherAdminId: 'acme-admin',
  otherInstanceId: 'acme-main',
  otherProjectId: 'acme-project',
} as const;

export type Caller =
  | 'superadmin'
  | 'admin'
  | 'user'
  | 'project'
  | 'otherAdmin'
  | 'service'
  | 'nobody';

const CALLERS_WITH_KEYS = ['superadmin', 'admin', 'user', 'project', 'otherAdmin'] as const;

const OWNERS: Record<KeyCaller, { user_id?: string; project_id?: string }> = {
  superadmin: { user_id: IDS.adminId },
  admin: { user_id: IDS.orgAdminId },
  user: { user_id: IDS.developerId },
  project: { project_id: 'playground' },
  otherAdmin: { user_id: IDS.otherAdminId },
};

/** The fields of all answers: a test looks at those that its answer should have, and sees it if one is not there. */
export interface AnswerBody {
  request_id: string;
  error: string;
  code: string;
  items: AnswerBody[];
  next_cursor: string | null;
  api_keys: Record<string, string>;
  authorized_users: string[];
  billing_email: string;
  created_by: string | null;
  email: string;
  instance_id: string;
  instances: string[];
  key: string;
  key_id: string;
  log_id: string;
  name: string;
  org_id: string;
  permissions: string[];
  project_id: string;
  r2_bucket: string | null;
  rate_limits: Record<string, object>;
  revoked_at: string | null;
  role: string;
  user_id: string;
  worker_urls: Record<string, string>;
}

export interface Answer {
  status: number;
  headers: Headers;
  body: AnswerBody;
}

export interface CallOptions {
  body?: unknown;
  headers?: Record<string, string>;
}

export interface TestService {
  clock: { now: Date };
  /** What the service has logged. */
  lines: string[];
  env: ConfigServiceEnv;
  keyOf: (caller: Caller) => string;
  send: (request: Request) => Promise<Response>;
  call: (caller: Caller, method: string, path: string, options?: CallOptions) => Promise<Answer>;
  /** Waits for what the service does after its answers. */
  settle: () => Promise<void>;
}

const FIXTURES = `
  INSERT INTO organizations (org_id, name, billing_email, created_at, updated_at)
    VALUES ('acme', 'Acme', 'pay@acme.example', '${START}', '${START}');
  INSERT INTO instances (instance_id, org_id, name, created_at, updated_at)
    VALUES ('acme-main', 'acme', 'Main', '${START}', '${START}');
  INSERT INTO projects (project_id, instance_id, name, created_at, updated_at)
    VALUES ('acme-project', 'acme-main', 'Project', '${START}', '${START}');
  INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES
    ('org-admin', 'org-admin@example.com', 'admin', 'example-org', '${START}', '${START}'),
    ('acme-admin', 'admin@acme.example', 'admin', 'acme', '${START}', '${START}')`;

type KeyCaller = Exclude<Caller, 'service' | 'nobody'>;
let generatedKeys: Promise<Map<KeyCaller, GeneratedKey>> | null = null;

/** One key for each kind of caller, the same for all tests. */
async function keysOfCallers(): Promise<Map<KeyCaller, GeneratedKey>> {
  generatedKeys ??= Promise.all(
    CALLERS_WITH_KEYS.map(async (caller) => [caller, await generateKey()] as const),
  ).then((entries) => new Map(entries));
  return await generatedKeys;
}

async function fillDatabase(keys: Map<KeyCaller, GeneratedKey>): Promise<void> {
  await freshDatabase([
    ...statementsOf(FIXTURES).map((statement) => env.DB.prepare(statement)),
    ...[...keys].map(([caller, { hash, prefix }]) =>
      env.DB.prepare(
        `INSERT INTO api_keys (key_id, user_id, project_id, name, key_hash, key_prefix, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
      ).bind(
        `key-of-${caller.toLowerCase()}`,
        OWNERS[caller].user_id ?? null,
        OWNERS[caller].project_id ?? null,
        caller,
        hash,
        prefix,
        START,
      ),
    ),
  ]);
}

async function clearCache(): Promise<void> {
  const { keys } = await env.CONFIG_CACHE.list();
  await Promise.all(keys.map(({ name }) => env.CONFIG_CACHE.delete(name)));
}

export async function startService(
  overrides: Partial<ConfigServiceEnv> = {},
): Promise<TestService> {
  const keys = await keysOfCallers();
  await Promise.all([fillDatabase(keys), clearCache()]);

  const clock = { now: new Date(START) };
  const lines: string[] = [];
  const service = createConfigService({ now: () => clock.now, log: (line) => lines.push(line) });
  const serviceEnv: ConfigServiceEnv = {
    DB: env.DB,
    CONFIG_CACHE: env.CONFIG_CACHE,
    PROVIDER_KEY_ENCRYPTION_KEYS: ENCRYPTION_KEYS,
    SERVICE_TOKEN,
    ALLOWED_ORIGINS: 'https://admin.example.com, https://monitoring.example.com',
    ...overrides,
  };
  const deferred: Promise<unknown>[] = [];
  const send = (request: Request) =>
    service.fetch(request, serviceEnv, { waitUntil: (work) => deferred.push(work) });
  const keyOf = (caller: Caller) => {
    if (caller === 'service' || caller === 'nobody') {
      return caller === 'service' ? SERVICE_TOKEN : '';
    }
    return keys.get(caller)?.key ?? '';
  };

  return {
    clock,
    lines,
    env: serviceEnv,
    keyOf,
    send,
    async call(caller, method, path, { body, headers = {} } = {}) {
      const response = await send(
        new Request(`https://config.example.com${path}`, {
          method,
          headers: {
            ...(caller === 'nobody' ? {} : { Authorization: `Bearer ${keyOf(caller)}` }),
            ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
            ...headers,
          },
          ...(body === undefined
            ? {}
            : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
        }),
      );
      const text = await response.text();
      return {
        status: response.status,
        headers: response.headers,
        body: text === '' ? null : JSON.parse(text),
      };
    },
    async settle() {
      await Promise.all(deferred.splice(0));
    },
  };
}

/** The one form of an error. */
export function errorBody(code: string): object {
  return { error: expect.any(String), code, request_id: expect.stringMatching(UUID) };
}

export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
