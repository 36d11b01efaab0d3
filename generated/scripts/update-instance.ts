// npm run update-instance: changes the configuration of an instance that exists.
import { COMMON_USAGE } from './deployment/arguments';
import { CommandError } from './deployment/context';
import { readInstanceFile } from './deployment/instance-file';
import { runAsProgram } from './deployment/main';
import { type Command, openSession } from './deployment/session';
import { updateInstance, updateText } from './deployment/update';

export const updateInstanceCommand: Command = {
  usage: `npm run update-instance -- --config FILE [flags]

Shows what differs from the file and changes it. What the file does not name stays; null removes an entry.
Workers are deployed again only if the change reaches them.

  --config FILE                the instance's configuration
${COMMON_USAGE}`,
  flags: ['config'],
  async run(args, context, reporter) {
    if (args.config === undefined) {
      throw new CommandError('say which instance: --config instances/production.json');
    }
    const { file, warnings, secrets } = await readInstanceFile(
      args.config,
      'change',
      context.environment,
    );
    reporter.hide(secrets);
    for (const warning of warnings) {
      reporter.warn(warning);
    }
    const session = await openSession(context, args, reporter);
    try {
      const result = await updateInstance(session, file, args.dryRun);
      reporter.result(result, updateText(result));
      return true;
    } finally {
      await session.target.close();
    }
  },
};

await runAsProgram(import.meta.url, updateInstanceCommand);
