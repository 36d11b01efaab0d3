// What a command works with: the project, the environment, where it writes, and how time passes. Tests bring their own.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface CommandContext {
  /** Where `infrastructure/`, `workers/` and `instances/` stand. */
  projectRoot: string;
  environment: Readonly<Record<string, string | undefined>>;
  stdout: (text: string) => void;
  stderr: (text: string) => void;
  /** The program by which wrangler is started, and its first arguments. */
  wrangler: readonly string[];
  now: () => Date;
  pause: (milliseconds: number) => Promise<void>;
}

/** A mistake of whoever runs the command, or of the account: shown as its message, without a stack. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

const PROJECT_ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Wrangler of this project, run by the Node that runs this. */
function installedWrangler(): string[] {
  const manifest = createRequire(import.meta.url).resolve('wrangler/package.json');
  return [process.execPath, join(dirname(manifest), 'bin', 'wrangler.js')];
}

export function processContext(): CommandContext {
  return {
    projectRoot: PROJECT_ROOT,
    environment: process.env,
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
    wrangler: installedWrangler(),
    now: () => new Date(),
    pause: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  };
}
