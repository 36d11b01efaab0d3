// The whole system on this machine, as `npm run dev` starts it: used over HTTP, killed, started again.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type LocalSystem, startLocalSystem } from '@/scripts/local/system';

// Processes are started here, for which a busy machine takes its time.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const IMAGE_WORKER_CONFIG = join(ROOT, 'workers/image-gen/wrangler.toml');
const imageWorkerConfig = existsSync(IMAGE_WORKER_CONFIG)
  ? readFileSync(IMAGE_WORKER_CONFIG, 'utf8')
  : '';
/** What `npm run dev` runs. Node itself: the program `tsx` kills what has not answered a signal within 60 milliseconds. */
const [, ...COMMAND] = (
  JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: { dev: string } }
).scripts.dev.split(' ');
const START_MS = 60_000;
/** Log entries wait up to ten seconds for their batch. */
const LOG_MS = 20_000;

interface Answer {
  status: number;
  headers: Headers;
  body: Record<string, unknown>;
}

async function call(url: string, key: string | null, body?: object): Promise<Answer> {
  const response = await fetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      ...(key === null ? {} : { Authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as Record<string, unknown>,
  };
}

const imageWorkerOf = (instance: string) => system.urls.workers[instance]?.['image-gen'] ?? '';

async function rows(sql: string, ...values: unknown[]) {
  const database = await system.database();
  return (
    await database
      .prepare(sql)
      .bind(...values)
      .all<Record<string, unknown>>()
  ).results;
}

let state = '';
let system: LocalSystem;
beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), 'local-system-state-'));
  system = await startLocalSystem({ state });
}, START_MS);
afterAll(async () => {
  await system.stop();
  await rm(state, { recursive: true, force: true });
}, START_MS);

describe('the system', () => {
  test('is healthy, and knows both keys', async () => {
    const { configService } = system.urls;
    expect((await call(`${configService}/health`, null)).body.status).toBe('ok');
    expect((await call(`${configService}/me`, system.keys.superadmin)).body.role).toBe(
      'superadmin',
    );
    expect((await call(`${configService}/me`, system.keys.user)).body).toMatchObject({
      role: 'user',
      instances: ['development'],
    });
  });

  test('has both instances, their provider keys masked, their addresses set', async () => {
    const { body } = await call(`${system.urls.configService}/instance`, system.keys.superadmin);
    const items = body.items as { instance_id: string; api_keys: object; worker_urls: object }[];
    expect(items.map(({ instance_id }) => instance_id)).toEqual(['production', 'development']);
    for (const { instance_id, api_keys, worker_urls } of items) {
      expect(JSON.stringify(api_keys)).toMatch(/"\*\*\*\*/);
      expect(worker_urls).toEqual(system.urls.workers[instance_id]);
    }
  });

  test('lets the interfaces call it, and no other page', async () => {
    const ask = async (origin: string) => {
      const answer = await fetch(`${system.urls.configService}/health`, {
        headers: { Origin: origin },
      });
      return answer.headers.get('Access-Control-Allow-Origin');
    };
    for (const origin of Object.values(system.urls.interfaces)) {
      expect(await ask(origin)).toBe(origin);
    }
    expect(await ask('http://127.0.0.1:1')).toBeNull();
  });

  test('listens on 127.0.0.1 only', () => {
    for (const url of [system.urls.configService, ...Object.values(system.urls.interfaces)]) {
      expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    }
  });

  test('serves each interface with its policy and the addresses of this system', async () => {
    for (const url of Object.values(system.urls.interfaces)) {
      const page = await fetch(url);
      expect(page.status).toBe(200);
      expect(page.headers.get('Content-Security-Policy')).toContain("default-src 'none'");
      expect(await page.text()).toContain('<script');
      const configuration = await (await fetch(`${url}/config.json`)).json();
      expect(configuration).toMatchObject({ config_service_url: system.urls.configService });
    }
  });
});

/** The program with these flags, and what it has printed once it prints a line or ends. */
function startProgram(...flags: string[]) {
  const child = spawn(process.execPath, [...COMMAND, ...flags], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const closed = new Promise<number | null>((resolve) => child.on('close', resolve));
  const printed = new Promise<string>((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes('\n')) {
        resolve(output);
      }
    });
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  return { child, closed, said: Promise.race([printed, closed.then(() => output + errors)]) };
}

describe('the program', () => {
  test(
    'prints one line of JSON, ends by a signal and leaves nothing behind',
    async () => {
      const { child, closed, said } = startProgram('--json', '--no-interfaces');
      const { urls, state: own } = JSON.parse(await said);
      expect((await call(`${urls.configService}/health`, null)).status).toBe(200);
      expect(existsSync(own)).toBe(true);
      // As if the terminal were gone: what is said at the end reaches nobody.
      child.stderr.destroy();
      child.kill('SIGINT');
      expect(await closed).toBe(0);
      expect(existsSync(own)).toBe(false);
      await expect(fetch(`${urls.configService}/health`)).rejects.toThrow();
    },
    START_MS,
  );

  test(
    'ends cleanly by a signal that comes while it starts',
    async () => {
      const own = await mkdtemp(join(tmpdir(), 'local-system-early-'));
      try {
        const { child, closed, said } = startProgram('--json', '--no-interfaces', '--state', own);
        // The database is being prepared: the runtime has begun, and is not ready.
        await vi.waitUntil(() => readdirSync(own).length > 0, START_MS);
        child.kill('SIGHUP');
        expect(await closed).toBe(0);
        // What other teams have not brought yet is warned of; nothing else is said.
        expect(await said).toMatch(/^Stopping…\n(?:warning: .+\n)*$/);
      } finally {
        await rm(own, { recursive: true, force: true });
      }
    },
    START_MS,
  );

  test(
    'explains its flags, and refuses others',
    async () => {
      const [help, port, unknown] = [['--help'], ['--port', 'x'], ['--unknown']].map((flags) =>
        startProgram(...flags),
      );
      expect(await help?.said).toContain('npm run dev');
      expect(await help?.closed).toBe(0);
      expect(await port?.said).toContain('--port: a number');
      expect(await port?.closed).toBe(1);
      expect(await unknown?.closed).toBe(1);
    },
    START_MS,
  );
});

// The Worker that generates is another team's, built at the same time as these scripts: where it is not there yet, the
// system starts without it, which the tests above show.
if (imageWorkerConfig !== '') {
  const generate = (body: object, key = system.keys.superadmin, instance = 'production') =>
    call(`${imageWorkerOf(instance)}/generate`, key, { instance_id: instance, ...body });

  describe('generating', () => {
    test('gives an image that is there, and a usage row', async () => {
      const { status, body } = await generate({ prompt: 'a red fox in the snow' });
      expect(body).toMatchObject({ success: true, metadata: { provider: 'ideogram' } });
      expect(status).toBe(200);
      const image = await fetch(String(body.image_url));
      expect(image.headers.get('Content-Type')).toBe('image/png');
      const bytes = new Uint8Array(await image.arrayBuffer());
      expect([...bytes.slice(0, 4)]).toEqual([0x89, 0x50, 0x4e, 0x47]);
      const usage = await rows(
        'SELECT instance_id, provider FROM usage_logs WHERE request_id = ?',
        body.request_id,
      );
      expect(usage).toEqual([{ instance_id: 'production', provider: 'ideogram' }]);
    });

    test('is for those with access: the user in development, and not in production', async () => {
      const { user } = system.keys;
      expect((await generate({ prompt: 'a fox' }, user, 'development')).status).toBe(200);
      expect((await generate({ prompt: 'a fox' }, user)).body.code).toBe('FORBIDDEN');
      const stranger = await call(`${imageWorkerOf('production')}/generate`, null, { prompt: 'x' });
      expect(stranger.status).toBe(401);
    });

    test('meets the mock Ideogram, which is as strict as the real one', async () => {
      const { status, body } = await generate({ prompt: 'something [mock:unsafe]' });
      expect(status).toBe(422);
      expect(body.code).toBe('PROVIDER_REJECTED');
    });

    test('works with the provider that draws by itself', async () => {
      const { body } = await generate({ prompt: 'a fox', provider: 'development' });
      expect(body).toMatchObject({ success: true, metadata: { provider: 'development' } });
    });
  });

  /** The runtime that this very process has started. */
  function runtimeProcess(): number {
    const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' });
    const found = stdout
      .split('\n')
      .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
      .find((match) => Number(match?.[2]) === process.pid && match?.[3]?.includes('workerd'));
    return Number(found?.[1]);
  }

  describe('killed and started again with the same state', () => {
    test('it has lost no usage row, no key, no image and no log entry', async () => {
      const { urls, keys } = system;
      const made = await call(`${urls.configService}/project/playground/key`, keys.superadmin, {
        name: 'made before the crash',
      });
      const key = String(made.body.key);
      const prompt = 'a fox before the crash';
      const { status, body } = await call(`${imageWorkerOf('development')}/generate`, key, {
        prompt,
      });
      expect(status).toBe(200);

      // At once: the log entry has been promised with the answer, and is not in the database yet.
      process.kill(runtimeProcess(), 'SIGKILL');
      const ask = () =>
        fetch(`${urls.configService}/health`).then(
          () => 'alive',
          () => 'dead',
        );
      await expect.poll(ask, { timeout: 10_000 }).toBe('dead');
      await system.stop();
      system = await startLocalSystem({ state, interfaces: false });

      expect(system.keys).toEqual(keys);
      const me = await call(`${system.urls.configService}/me`, key);
      expect(me.body.project_id).toBe('playground');
      const usage = 'SELECT project_id FROM usage_logs WHERE request_id = ?';
      expect(await rows(usage, body.request_id)).toEqual([{ project_id: 'playground' }]);
      const { pathname } = new URL(String(body.image_url));
      expect((await fetch(`${imageWorkerOf('development')}${pathname}`)).status).toBe(200);
      const logs = 'SELECT message, component FROM logs WHERE request_id = ?';
      await expect
        .poll(() => rows(logs, body.request_id), { timeout: LOG_MS, interval: 500 })
        .toEqual([{ message: 'request completed', component: 'image-gen-worker' }]);
      expect(JSON.stringify(await rows('SELECT * FROM logs'))).not.toContain(prompt);
    }, 120_000);
  });
}

if (imageWorkerConfig.includes('crons')) {
  test('the scheduled handler deletes log entries after 30 days, and younger ones stay', async () => {
    const day = 24 * 60 * 60 * 1000;
    for (const days of [31, 29]) {
      await rows(
        "INSERT INTO logs (log_id, timestamp, level, message, request_id, component) VALUES (?, ?, 'INFO', 'old', 'r', 'test')",
        `log-${days}`,
        new Date(Date.now() - days * day).toISOString(),
      );
    }
    await system.runScheduled('image-gen-production');
    expect(await rows("SELECT log_id FROM logs WHERE component = 'test'")).toEqual([
      { log_id: 'log-29' },
    ]);
  });
}
