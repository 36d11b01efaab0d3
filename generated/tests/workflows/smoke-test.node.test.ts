// The smoke tests of a deployment, against Workers that answer well and badly.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';

// Processes are started here, for which a busy machine takes its time.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

const SCRIPT = fileURLToPath(
  new URL('../../.github/workflows/scripts/smoke-test.mjs', import.meta.url),
);
const GOOD_401 = {
  error: 'send an API key',
  code: 'AUTH_FAILED',
  request_id: '00000000-0000-4000-8000-000000000000',
};

let folder = '';
let server: Server;
let url = '';
let health: () => [number, object | string];
let generate: () => [number, object | string];
let asked: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'smoke-test-'));
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.authorization ?? 'no key'}`);
    const [status, body] = request.url === '/health' ? health() : generate();
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  health = () => [200, { status: 'ok' }];
  generate = () => [401, GOOD_401];
  asked = [];
});

async function run(result: object): Promise<{ status: number | null; output: string }> {
  const path = join(folder, 'deployed.json');
  await writeFile(path, JSON.stringify(result));
  const child = spawn(process.execPath, [SCRIPT, path], {
    env: { ...process.env, SMOKE_TEST_ATTEMPTS: '2', SMOKE_TEST_PAUSE_MS: '1' },
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { status, output };
}

const deployed = (...ids: string[]) => ({
  ok: true,
  instances: ids.map((id) => ({ ok: true, instance_id: id, worker_urls: { 'image-gen': url } })),
});

test('Workers that live and keep strangers out pass, without a key or a provider', async () => {
  const { status, output } = await run(deployed('production', 'development'));
  expect(output).toContain('ok     image-gen of production answers');
  expect(output).toContain('ok     image-gen of development refuses strangers');
  expect(status).toBe(0);
  expect(asked).toEqual([
    'GET /health no key',
    'POST /generate no key',
    'GET /health no key',
    'POST /generate no key',
  ]);
});

test('the result of a single instance is understood as well', async () => {
  expect((await run({ instance_id: 'production', worker_urls: { 'image-gen': url } })).status).toBe(
    0,
  );
});

test.each([
  [
    'a Worker that is ill',
    () => {
      health = () => [500, { code: 'INTERNAL_ERROR' }];
    },
  ],
  [
    'something else that answers in its place',
    () => {
      health = () => [200, '<html>'];
    },
  ],
  [
    'a Worker that lets strangers in',
    () => {
      generate = () => [200, { success: true }];
    },
  ],
  [
    'a refusal without a request_id',
    () => {
      generate = () => [401, { code: 'AUTH_FAILED' }];
    },
  ],
])('%s fails', async (_, breakIt) => {
  breakIt();
  const { status, output } = await run(deployed('production'));
  expect(output).toContain('FAILED');
  expect(status).toBe(1);
});

test('a Worker that is found only after a while passes', async () => {
  let calls = 0;
  health = () => {
    calls += 1;
    return calls === 1 ? [404, {}] : [200, { status: 'ok' }];
  };
  expect((await run(deployed('production'))).status).toBe(0);
});

test('a Worker that cannot be reached fails', async () => {
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  const { status, output } = await run({
    instance_id: 'production',
    worker_urls: { other: `http://127.0.0.1:${port}` },
  });
  expect(status).toBe(1);
  expect(output).toContain('ECONNREFUSED');
});

test('a deployment without a Worker fails: nothing was tested', async () => {
  expect((await run({ instances: [] })).status).toBe(1);
});
