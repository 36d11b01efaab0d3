// npm run deploy-instance: makes everything that an instance needs, and leaves alone what is there.
import { COMMON_USAGE } from './deployment/arguments';
import { CommandError } from './deployment/context';
import { deployInstance, deploymentText } from './deployment/deploy';
import { readInstanceFile } from './deployment/instance-file';
import { runAsProgram } from './deployment/main';
import { type Command, openSession } from './deployment/session';

export const deployInstanceCommand: Command = {
  usage: `npm run deploy-instance -- --config FILE [flags]

Makes the instance's entry, its bucket and its Workers. Running it again changes nothing.

  --config FILE                the instance's configuration
${COMMON_USAGE}`,
  flags: ['config'],
  async run(args, context, reporter) {
    if (args.config === undefined) {
      throw new CommandError('say which instance: --config instances/production.json');
    }
    const { file, warnings, secrets } = await readInstanceFile(
      args.config,
      'new',
      context.environment,
    );
    reporter.hide(secrets);
    for (const warning of warnings) {
      reporter.warn(warning);
    }
    const session = await openSession(context, args, reporter);
    try {
      const result = await deployInstance(session, file, args.dryRun);
      reporter.result(result, deploymentText(result));
      return true;
    } finally {
      await session.target.close();
    }
  },
};

await runAsProgram(import.meta.url, deployInstanceCommand);
