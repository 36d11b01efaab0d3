// What stands in for the network: requests to Ideogram reach its mock, all others are refused. So nothing of a local system
// gets out, and no code is changed for it.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CommandError } from '../deployment/context';
import type { Handler } from './http';

const MOCK_PATH = 'tests/provider-adapters/mock-ideogram.ts';
const HOSTS = new Set(['api.ideogram.ai', 'ideogram.ai']);

/** The mock as far as it is used here; whoever steers it imports its own type. */
export interface IdeogramMock {
  fetch: Handler;
  reset: () => void;
}

export interface Ideogram {
  mock: IdeogramMock;
  apiKey: string;
}

interface MockModule {
  MockIdeogram: new (options?: object) => IdeogramMock;
  MOCK_API_KEY: string;
}

function isMockModule(module: object): module is MockModule {
  return (
    'MockIdeogram' in module &&
    typeof module.MockIdeogram === 'function' &&
    'MOCK_API_KEY' in module &&
    typeof module.MOCK_API_KEY === 'string'
  );
}

/** Null if the project has no mock: it is another part's, and loaded by its path for that reason. */
export async function loadIdeogram(projectRoot: string, options: object): Promise<Ideogram | null> {
  const path = join(projectRoot, MOCK_PATH);
  if (!existsSync(path)) {
    return null;
  }
  const module: object = await import(/* @vite-ignore */ pathToFileURL(path).href);
  if (!isMockModule(module)) {
    throw new CommandError(`${MOCK_PATH} does not export MockIdeogram and MOCK_API_KEY`);
  }
  return { mock: new module.MockIdeogram(options), apiKey: module.MOCK_API_KEY };
}

export function outboundHandler(ideogram: Ideogram | null, log: (line: string) => void): Handler {
  return async (request) => {
    const { hostname, pathname } = new URL(request.url);
    if (ideogram !== null && HOSTS.has(hostname)) {
      return await ideogram.mock.fetch(request);
    }
    log(`refused: ${request.method} ${hostname}${pathname}: a local system calls nobody outside`);
    return Response.json({ error: 'a local system calls nobody outside' }, { status: 502 });
  };
}
