// A plan: what has to be done, found out by reading only. A dry run prints it, a real one carries it out in order.
import { CommandError } from './context';
import type { Reporter } from './reporter';

export interface Step {
  /** What it does, as an order: "create the bucket production-images". */
  title: string;
  run: () => Promise<void>;
}

export async function runSteps(
  steps: readonly Step[],
  { dryRun, reporter }: { dryRun: boolean; reporter: Reporter },
): Promise<void> {
  for (const [index, { title, run }] of steps.entries()) {
    const place = `${index + 1}/${steps.length}`;
    if (dryRun) {
      reporter.say(`would do ${place}: ${title}`);
      continue;
    }
    reporter.say(`${place}: ${title}`);
    try {
      await run();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new CommandError(
        `step ${place} failed (${title}): ${message}\nWhat was done before it stays. Run the same command again to go on.`,
      );
    }
  }
}
