// Runs a command when its file is the program that was started, and not when it is imported.
import { argv } from 'node:process';
import { pathToFileURL } from 'node:url';
import { processContext } from './process-context';
import { type Command, runCommand } from './session';

export async function runAsProgram(moduleUrl: string, command: Command): Promise<void> {
  const started = argv[1];
  if (started !== undefined && pathToFileURL(started).href === moduleUrl) {
    process.exitCode = await runCommand(command, argv.slice(2), processContext());
  }
}
