// What a command works with: the project, the environment, where it writes, and how time passes. Tests bring their own.

/** Runs wrangler with these arguments. The status is null if its time was up. */
export type RunWrangler = (
  argv: readonly string[],
  options: { cwd: string; env: NodeJS.ProcessEnv },
) => Promise<{ status: number | null; output: string }>;

export interface CommandContext {
  /** Where `infrastructure/`, `workers/` and `instances/` stand. */
  projectRoot: string;
  environment: Readonly<Record<string, string | undefined>>;
  stdout: (text: string) => void;
  stderr: (text: string) => void;
  wrangler: RunWrangler;
  now: () => Date;
  pause: (milliseconds: number) => Promise<void>;
}

/** A mistake of whoever runs the command, or of the account: shown as its message, without a stack. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}
