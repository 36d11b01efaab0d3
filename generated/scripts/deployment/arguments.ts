// The command line of the deployment commands: which flags there are, and where account and token come from.
import { parseArgs } from 'node:util';
import { type CommandContext, CommandError } from './context';

const FLAGS = {
  config: { type: 'string' },
  instance: { type: 'string' },
  'cloudflare-account-id': { type: 'string' },
  'cloudflare-api-token': { type: 'string' },
  'dry-run': { type: 'boolean' },
  json: { type: 'boolean' },
  local: { type: 'boolean' },
  state: { type: 'string' },
  yes: { type: 'boolean' },
  'delete-objects': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

export type Flag = keyof typeof FLAGS;

/** Every command takes these. */
const COMMON: readonly Flag[] = [
  'cloudflare-account-id',
  'cloudflare-api-token',
  'dry-run',
  'json',
  'local',
  'state',
  'help',
];

export interface Arguments {
  config: string | undefined;
  instance: string | undefined;
  accountId: string | undefined;
  apiToken: string | undefined;
  dryRun: boolean;
  json: boolean;
  local: boolean;
  state: string | undefined;
  yes: boolean;
  deleteObjects: boolean;
  help: boolean;
}

export function readArguments(
  argv: readonly string[],
  own: readonly Flag[],
  environment: CommandContext['environment'],
): Arguments {
  const allowed = new Set<string>([...COMMON, ...own]);
  let values: ReturnType<typeof parse>;
  try {
    values = parse(argv);
  } catch (error) {
    throw new CommandError(error instanceof Error ? error.message : String(error));
  }
  const foreign = Object.keys(values).find((name) => !allowed.has(name));
  if (foreign !== undefined) {
    throw new CommandError(`this command has no flag --${foreign}`);
  }
  if (values.state !== undefined && values.local !== true) {
    throw new CommandError('--state goes with --local');
  }
  return {
    config: values.config,
    instance: values.instance,
    accountId: values['cloudflare-account-id'] ?? environment.CLOUDFLARE_ACCOUNT_ID,
    apiToken: values['cloudflare-api-token'] ?? environment.CLOUDFLARE_API_TOKEN,
    dryRun: values['dry-run'] ?? false,
    json: values.json ?? false,
    local: values.local ?? false,
    state: values.state,
    yes: values.yes ?? false,
    deleteObjects: values['delete-objects'] ?? false,
    help: values.help ?? false,
  };
}

function parse(argv: readonly string[]) {
  return parseArgs({ args: [...argv], options: FLAGS, strict: true, allowPositionals: false })
    .values;
}

export interface Account {
  id: string;
  token: string;
}

/** The account to deploy to; the error names everything that is missing at once. */
export function requireAccount({ accountId, apiToken }: Arguments): Account {
  const id = accountId ?? '';
  const token = apiToken ?? '';
  const missing = [
    ...(id === '' ? ['the account: CLOUDFLARE_ACCOUNT_ID or --cloudflare-account-id'] : []),
    ...(token === '' ? ['the token: CLOUDFLARE_API_TOKEN or --cloudflare-api-token'] : []),
  ];
  if (missing.length > 0) {
    throw new CommandError(`missing ${missing.join('; and ')}. With --local neither is needed.`);
  }
  if (!/^[0-9a-f]{32}$/i.test(id)) {
    throw new CommandError('the account id is not one: it has 32 hexadecimal digits');
  }
  return { id, token };
}

export const COMMON_USAGE = `  --cloudflare-account-id ID   default: CLOUDFLARE_ACCOUNT_ID
  --cloudflare-api-token TOKEN default: CLOUDFLARE_API_TOKEN, which is better: arguments are visible to every process
  --local                      on this machine, without an account
  --state DIRECTORY            where the local system keeps its state (default: .wrangler/local)
  --dry-run                    print every step, change nothing
  --json                       the result as JSON on standard output
  --help`;
