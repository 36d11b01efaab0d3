// npm run dev: the whole system on this machine, until Ctrl-C.
import { parseArgs } from 'node:util';
import { CommandError } from './deployment/context';
import type { LocalSystem } from './local/system';

const USAGE = `npm run dev -- [flags]

Starts all Workers, both instances, a mock Ideogram and the interfaces on 127.0.0.1, with seeded data.

  --port PORT        fixed ports: the Config Service at PORT, the instances from PORT + 1 on, the interfaces from PORT + 10
                     on, the mock at PORT + 20. Default: free ports
  --state DIRECTORY  keep the state there. Default: fresh data, deleted at the end
  --no-interfaces    without the interfaces, which starts faster
  --json             one line of JSON on standard output when everything is ready
  --help`;

/** Ctrl-C, a polite end, and a terminal that is closed. */
const SIGNALS: string[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
const PORT_MAX = 65_535 - 30;

function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`).join('\n');
}

function describe({ urls, keys, state }: LocalSystem, isKept: boolean): string {
  const addresses: [string, string][] = [
    ['Config Service', urls.configService],
    ...Object.entries(urls.workers).flatMap(([instance, workers]) =>
      Object.entries(workers).map(([type, url]): [string, string] => [
        `${type} of ${instance}`,
        url,
      ]),
    ),
    ...(urls.ideogram === null ? [] : [['mock Ideogram', urls.ideogram] as [string, string]]),
    ...Object.entries(urls.interfaces),
  ];
  const keyRows: [string, string][] = [
    ['superadmin, may do everything', keys.superadmin],
    ['user, may generate in development', keys.user],
  ];
  return `
Addresses
${table(addresses)}

Keys
${table(keyRows)}

State: ${state}${isKept ? '' : ' (deleted at the end)'}
Ctrl-C stops everything.
`;
}

function readPort(text: string | undefined): number | undefined {
  if (text === undefined) {
    return undefined;
  }
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > PORT_MAX) {
    throw new CommandError(`--port: a number from 1 to ${PORT_MAX}`);
  }
  return port;
}

function readFlags(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        port: { type: 'string' },
        state: { type: 'string' },
        interfaces: { type: 'boolean', default: true },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
      allowNegative: true,
    }).values;
  } catch (error) {
    throw new CommandError(error instanceof Error ? error.message : String(error));
  }
}

/** Settles at the first signal. It is ours alone: what the runtime listens with would end the process at once, before everything has stopped. */
function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    const listener = () => resolve();
    for (const signal of SIGNALS) {
      process.on(signal, listener);
    }
    process.on('newListener', (event, other) => {
      if (typeof event === 'string' && SIGNALS.includes(event) && other !== listener) {
        // It is not yet there when this is told.
        queueMicrotask(() => process.off(event, other));
      }
    });
  });
}

async function main(argv: readonly string[]): Promise<void> {
  const flags = readFlags(argv);
  if (flags.help) {
    process.stdout.write(`${USAGE}\n`);
    return;
  }
  const port = readPort(flags.port);
  // Loaded only now: it takes seconds, which neither --help nor a mistake should cost.
  const { startLocalSystem } = await import('./local/system');
  let isEnding = false;
  const ending = untilSignal().then(() => {
    isEnding = true;
    process.stderr.write('Stopping…\n');
  });
  let system: LocalSystem;
  try {
    system = await startLocalSystem({
      ...(port === undefined ? {} : { port }),
      ...(flags.state === undefined ? {} : { state: flags.state }),
      interfaces: flags.interfaces,
      log: (line) => process.stderr.write(`${line}\n`),
    });
  } catch (error) {
    // Ctrl-C reaches the runtime too: a start that fails after it is what was asked for, and has cleaned up.
    if (isEnding) {
      process.exit(0);
    }
    throw error;
  }
  // What keeps the process alive ends with the system.
  void ending.then(() => system.stop()).then(() => process.exit(0));
  if (isEnding) {
    return;
  }
  if (flags.json) {
    const { urls, keys, state } = system;
    process.stdout.write(`${JSON.stringify({ urls, keys, state })}\n`);
  } else {
    process.stdout.write(describe(system, flags.state !== undefined));
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const known = error instanceof CommandError;
  const message = error instanceof Error ? (known ? error.message : error.stack) : String(error);
  process.stderr.write(`error: ${message}\n`);
  process.exit(1);
}
