// npm run deploy-all-instances: deploys every instances/*.json, one after the other. One that fails does not stop the rest.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { COMMON_USAGE } from './deployment/arguments';
import { CommandError } from './deployment/context';
import { type DeploymentResult, deployInstance, deploymentText } from './deployment/deploy';
import { readInstanceFile } from './deployment/instance-file';
import { runAsProgram } from './deployment/main';
import { type Command, openSession } from './deployment/session';

type Outcome = DeploymentResult | { ok: false; file: string; error: string };

export const deployAllInstancesCommand: Command = {
  usage: `npm run deploy-all-instances -- [flags]

Deploys each instance of instances/*.json. Fails in the end if one of them failed.

${COMMON_USAGE}`,
  flags: [],
  async run(args, context, reporter) {
    const folder = join(context.projectRoot, 'instances');
    const names = (await readdir(folder).catch(() => []))
      .filter((name) => name.endsWith('.json'))
      .sort();
    if (names.length === 0) {
      throw new CommandError('there is no instances/*.json');
    }
    const session = await openSession(context, args, reporter);
    const outcomes: Outcome[] = [];
    try {
      for (const name of names) {
        try {
          const { file, warnings, secrets } = await readInstanceFile(
            join(folder, name),
            'new',
            context.environment,
          );
          reporter.hide(secrets);
          for (const warning of warnings) {
            reporter.warn(`${name}: ${warning}`);
          }
          outcomes.push(await deployInstance(session, file, args.dryRun));
        } catch (error) {
          const message = error instanceof Error ? error.message : String(error);
          reporter.say(`error: ${name}: ${message}`);
          outcomes.push({ ok: false, file: name, error: message });
        }
      }
    } finally {
      await session.target.close();
    }
    const text = outcomes.map((outcome) =>
      outcome.ok ? deploymentText(outcome) : `${outcome.file}: failed`,
    );
    const ok = outcomes.every((outcome) => outcome.ok);
    reporter.result({ ok, instances: outcomes }, text.join('\n'));
    return ok;
  },
};

await runAsProgram(import.meta.url, deployAllInstancesCommand);
