// Runs wrangler as a child process: an argument list, no shell, and an environment that holds only what it needs.
import { spawn } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Account } from './arguments';
import { type CommandContext, CommandError, type RunWrangler } from './context';
import type { Reporter } from './reporter';

const TIME_LIMIT_MS = 5 * 60_000;
const SHOWN_CHARACTERS_MAX = 4_000;

/** Everything else of our environment, above all secrets, stays here. */
const PASSED_ON = [
  'PATH',
  'HOME',
  'USERPROFILE',
  'SYSTEMROOT',
  'TMPDIR',
  'TEMP',
  'LANG',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'NODE_EXTRA_CA_CERTS',
  'CLOUDFLARE_API_BASE_URL',
];

export interface WranglerDeployment {
  name: string;
  /** Null: the top level of the configuration. */
  environment: string | null;
  config: Record<string, unknown>;
  message: string;
}

function argumentsFor({ name, environment, message }: WranglerDeployment, path: string): string[] {
  return [
    'deploy',
    '--name',
    name,
    // The top level has to be named as well, else wrangler asks which of several environments is meant.
    ...(environment === null ? ['--env='] : ['--env', environment]),
    '--config',
    path,
    '--message',
    message,
  ];
}

/** Runs the wrangler that this program starts, as a child process. */
export function spawnWrangler(program: readonly string[]): RunWrangler {
  const [command = '', ...first] = program;
  return async (argv, { cwd, env }) =>
    await new Promise((resolve, reject) => {
      const child = spawn(command, [...first, ...argv], {
        cwd,
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
        shell: false,
        timeout: TIME_LIMIT_MS,
      });
      let output = '';
      const collect = (chunk: Buffer) => {
        output = (output + chunk.toString('utf8')).slice(-SHOWN_CHARACTERS_MAX);
      };
      child.stdout.on('data', collect);
      child.stderr.on('data', collect);
      child.on('error', reject);
      child.on('close', (status) => resolve({ status, output }));
    });
}

export async function wranglerDeploy(
  context: CommandContext,
  account: Account,
  reporter: Reporter,
  deployment: WranglerDeployment,
): Promise<void> {
  const folder = join(
    context.projectRoot,
    '.wrangler',
    'deploy',
    `${deployment.name}-${process.pid}`,
  );
  await mkdir(folder, { recursive: true });
  try {
    const path = join(folder, 'wrangler.json');
    await writeFile(path, JSON.stringify(deployment.config, null, 2));
    const env: NodeJS.ProcessEnv = {
      CLOUDFLARE_ACCOUNT_ID: account.id,
      CLOUDFLARE_API_TOKEN: account.token,
      CI: '1',
      NO_COLOR: '1',
      WRANGLER_SEND_METRICS: 'false',
    };
    for (const name of PASSED_ON) {
      const value = context.environment[name];
      if (value !== undefined) {
        env[name] = value;
      }
    }
    const { status, output } = await context.wrangler(argumentsFor(deployment, path), {
      cwd: context.projectRoot,
      env,
    });
    if (status !== 0) {
      const how =
        status === null ? 'was stopped after its time limit' : `ended with status ${status}`;
      throw new CommandError(
        reporter.redact(
          `wrangler could not deploy ${deployment.name}: it ${how}\n${output.trim()}`,
        ),
      );
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
