// The context of a command that was started as a program.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CommandContext } from './context';
import { spawnWrangler } from './wrangler';

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
    wrangler: spawnWrangler(installedWrangler()),
    now: () => new Date(),
    pause: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  };
}
