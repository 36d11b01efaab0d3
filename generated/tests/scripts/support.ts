// A project with Workers to deploy, a fake Cloudflare, a fake wrangler, and the commands run against them in this process.
import { existsSync } from 'node:fs';
import { appendFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CommandContext, RunWrangler } from '@/scripts/deployment/context';
import { type Command, runCommand } from '@/scripts/deployment/session';
import { spawnWrangler } from '@/scripts/deployment/wrangler';
import { ACCOUNT_ID, API_TOKEN, FakeCloudflare } from './fake-cloudflare';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FAKE_WRANGLER = fileURLToPath(new URL('./fake-wrangler.mjs', import.meta.url));

export const SECRETS = {
  IDEOGRAM_API_KEY: 'planted-ideogram-key-0123456789abcdef',
  PROVIDER_KEY_ENCRYPTION_KEYS: 'first:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=',
  SERVICE_TOKEN: 'planted-service-token-0123456789abcdef',
  CACHE_ENCRYPTION_KEY: 'AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=',
} as const;

export const CONFIG = {
  instance_id: 'production',
  org_id: 'example-org',
  name: 'Production',
  organization: { name: 'Example Organisation', billing_email: 'billing@example.com' },
  api_keys: { ideogram: 'env:IDEOGRAM_API_KEY' },
  rate_limits: { ideogram: { rpm: 500 } },
  r2_bucket: 'prod-images',
};

const IMAGE_WORKER = `
name = "image-gen"
main = "index.ts"
compatibility_date = "2026-04-01"
d1_databases = [{ binding = "DB", database_name = "multiagent", database_id = "00000000-0000-0000-0000-000000000000" }]
kv_namespaces = [{ binding = "CONFIG_CACHE", id = "00000000000000000000000000000000" }]
r2_buckets = [{ binding = "IMAGES", bucket_name = "default-images" }]
services = [{ binding = "CONFIG_SERVICE", service = "config-service" }]

[env.production]
d1_databases = [{ binding = "DB", database_name = "multiagent", database_id = "00000000-0000-0000-0000-000000000000" }]
kv_namespaces = [{ binding = "CONFIG_CACHE", id = "00000000000000000000000000000000" }]
r2_buckets = [{ binding = "IMAGES", bucket_name = "default-images" }]
services = [{ binding = "CONFIG_SERVICE", service = "config-service" }]
vars = { LOG_LEVEL = "INFO" }
`;

/** Only bindings: a Durable Object that other Workers bring in. */
const BINDINGS_ONLY = `
name = "rate-limiter"
compatibility_date = "2026-04-01"
durable_objects.bindings = [{ name = "RATE_LIMITER", class_name = "RateLimiter" }]
`;

export interface Result {
  status: number;
  stdout: string;
  stderr: string;
}

export interface WranglerCall {
  argv: string[];
  environment: Record<string, string>;
  config: Record<string, unknown>;
}

export interface DeploymentBench {
  cloudflare: FakeCloudflare;
  projectRoot: string;
  environment: Record<string, string | undefined>;
  /** The pauses that were made, in milliseconds. */
  pauses: number[];
  run: (command: Command, ...argv: string[]) => Promise<Result>;
  /** Writes a configuration and gives its path. */
  configFile: (content: object | string, name?: string) => Promise<string>;
  wranglerCalls: () => Promise<WranglerCall[]>;
  /** From now on wrangler is a program that is started. */
  useProgram: () => void;
  failDeploymentsOf: (...names: string[]) => Promise<void>;
  /** Everything that was printed by all runs. */
  printed: () => string;
  write: (path: string, content: string) => Promise<void>;
  /** A new project and an empty account. */
  reset: () => Promise<void>;
  stop: () => Promise<void>;
}

async function writeProject(projectRoot: string): Promise<void> {
  const files: Record<string, string> = {
    'package-lock.json': '{}',
    'workers/image-gen/wrangler.toml': IMAGE_WORKER,
    'workers/image-gen/index.ts': 'export default { fetch: () => new Response("images") };\n',
    'workers/shared/rate-limiter/wrangler.toml': BINDINGS_ONLY,
    'infrastructure/config-service/index.ts':
      'export default { fetch: () => new Response("configuration") };\n',
  };
  for (const [path, content] of Object.entries(files)) {
    await mkdir(join(projectRoot, path, '..'), { recursive: true });
    await writeFile(join(projectRoot, path), content);
  }
  await cp(
    join(ROOT, 'infrastructure/config-service/wrangler.toml'),
    join(projectRoot, 'infrastructure/config-service/wrangler.toml'),
  );
  await cp(
    join(ROOT, 'infrastructure/database/migrations'),
    join(projectRoot, 'infrastructure/database/migrations'),
    { recursive: true },
  );
}

export async function startBench(): Promise<DeploymentBench> {
  const cloudflare = await new FakeCloudflare().start();
  const folder = await mkdtemp(join(tmpdir(), 'deployment-test-'));
  const projectRoot = join(folder, 'project');
  const record = join(folder, 'wrangler-calls');
  const pauses: number[] = [];
  const environment: Record<string, string | undefined> = {};
  let printed = '';
  let asProgram = false;
  let failing: string[] = [];

  /** What fake-wrangler.mjs does, without a process: most tests are about other things. */
  const wrangler: RunWrangler = async (argv, { env }) => {
    const flag = (name: string) => argv[argv.indexOf(name) + 1] ?? '';
    const config = JSON.parse(await readFile(flag('--config'), 'utf8'));
    await appendFile(record, `${JSON.stringify({ argv, environment: env, config })}\n`);
    if (failing.includes(flag('--name'))) {
      return { status: 1, output: `the token was ${env.CLOUDFLARE_API_TOKEN}` };
    }
    cloudflare.upload(flag('--name'), { message: flag('--message'), config });
    return { status: 0, output: '' };
  };

  const initialEnvironment = () => ({
    PATH: process.env.PATH,
    CLOUDFLARE_ACCOUNT_ID: ACCOUNT_ID,
    CLOUDFLARE_API_TOKEN: API_TOKEN,
    CLOUDFLARE_API_BASE_URL: cloudflare.baseUrl,
    ...SECRETS,
  });

  return {
    cloudflare,
    projectRoot,
    environment,
    pauses,
    async run(command, ...argv) {
      const result: Result = { status: 0, stdout: '', stderr: '' };
      const context: CommandContext = {
        projectRoot,
        environment,
        stdout: (text) => {
          result.stdout += text;
          printed += text;
        },
        stderr: (text) => {
          result.stderr += text;
          printed += text;
        },
        wrangler: asProgram ? spawnWrangler([process.execPath, FAKE_WRANGLER, record]) : wrangler,
        now: () => new Date('2026-03-01T10:00:00.000Z'),
        pause: (milliseconds) => {
          pauses.push(milliseconds);
          return Promise.resolve();
        },
      };
      result.status = await runCommand(command, argv, context);
      return result;
    },
    async configFile(content, name = 'config.json') {
      const path = join(folder, name);
      await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
      return path;
    },
    async wranglerCalls() {
      const text = existsSync(record) ? await readFile(record, 'utf8') : '';
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as WranglerCall);
    },
    useProgram: () => {
      asProgram = true;
    },
    async failDeploymentsOf(...names) {
      failing = names;
      await writeFile(join(folder, 'fail-for'), names.join('\n'));
    },
    printed: () => printed,
    async write(path, content) {
      await mkdir(join(projectRoot, path, '..'), { recursive: true });
      await writeFile(join(projectRoot, path), content);
    },
    async reset() {
      await cloudflare.reset();
      await rm(projectRoot, { recursive: true, force: true });
      await rm(record, { force: true });
      await rm(join(folder, 'fail-for'), { force: true });
      await writeProject(projectRoot);
      for (const name of Object.keys(environment)) {
        delete environment[name];
      }
      Object.assign(environment, initialEnvironment());
      asProgram = false;
      failing = [];
      pauses.length = 0;
      printed = '';
    },
    async stop() {
      await cloudflare.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
