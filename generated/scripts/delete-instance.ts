// npm run delete-instance: removes an instance with its Workers and its bucket, after saying what goes.
import { readFile } from 'node:fs/promises';
import * as v from 'valibot';
import { IDENTIFIER } from '@/infrastructure/config-service/http/router';
import { type Arguments, COMMON_USAGE } from './deployment/arguments';
import { CommandError } from './deployment/context';
import { deleteInstance, deletionText } from './deployment/delete';
import { runAsProgram } from './deployment/main';
import { type Command, openSession } from './deployment/session';

/** Deleting needs no more of the file, and no provider key in the environment. */
const WhatToDelete = v.object({
  instance_id: v.pipe(v.string(), v.regex(IDENTIFIER)),
  r2_bucket: v.nullish(v.string(), null),
});

async function whatToDelete({
  config,
  instance,
}: Arguments): Promise<{ instanceId: string; bucket: string | null }> {
  if ((config === undefined) === (instance === undefined)) {
    throw new CommandError('say which instance: either --instance ID or --config FILE');
  }
  if (instance !== undefined) {
    if (!IDENTIFIER.test(instance)) {
      throw new CommandError('--instance: this is no identifier');
    }
    return { instanceId: instance, bucket: null };
  }
  const text = await readFile(config ?? '', 'utf8').catch(() => {
    throw new CommandError(`${config} cannot be read`);
  });
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), WhatToDelete), text);
  if (!result.success) {
    throw new CommandError(`${config}: is no configuration with a valid instance_id`);
  }
  return { instanceId: result.output.instance_id, bucket: result.output.r2_bucket };
}

export const deleteInstanceCommand: Command = {
  usage: `npm run delete-instance -- --instance ID --yes [flags]

Lists what goes and, with --yes, deletes it: Workers, bucket, entry. What is missing already is no fault.

  --instance ID                which instance
  --config FILE                instead: the instance of this file
  --yes                        really do it
  --delete-objects             also if the bucket holds objects
${COMMON_USAGE}`,
  flags: ['config', 'instance', 'yes', 'delete-objects'],
  async run(args, context, reporter) {
    const { instanceId, bucket } = await whatToDelete(args);
    const session = await openSession(context, args, reporter);
    try {
      const result = await deleteInstance(session, {
        instanceId,
        bucket,
        confirmed: args.yes,
        deleteObjects: args.deleteObjects,
        dryRun: args.dryRun,
      });
      reporter.result(result, deletionText(result));
      return result.ok;
    } finally {
      await session.target.close();
    }
  },
};

await runAsProgram(import.meta.url, deleteInstanceCommand);
