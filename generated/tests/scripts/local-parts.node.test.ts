// The parts of the local system one by one: what it says when something is missing, how it serves pages, what it lets out.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  discoverWorkers,
  instanceDeployables,
  sharedDeployables,
} from '@/scripts/deployment/workers';
import { serve } from '@/scripts/local/http';
import { loadIdeogram, outboundHandler } from '@/scripts/local/ideogram';
import {
  findInterfaces,
  pagesHandler,
  parseHeaderRules,
  parseRewrites,
} from '@/scripts/local/interfaces';
import { runtimeWorkers } from '@/scripts/local/runtime';
import { isDue, startSchedule } from '@/scripts/local/schedule';
import { localSecrets, readDeployments } from '@/scripts/local/storage';
import { startLocalSystem } from '@/scripts/local/system';

// Processes are started here, for which a busy machine takes its time.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'local-parts-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function write(path: string, content: string): Promise<string> {
  await mkdir(join(folder, path, '..'), { recursive: true });
  await writeFile(join(folder, path), content);
  return join(folder, path);
}

describe('the options of the runtime', () => {
  const SECRETS = {
    PROVIDER_KEY_ENCRYPTION_KEYS: 'a',
    SERVICE_TOKEN: 'b',
    CACHE_ENCRYPTION_KEY: 'c',
  };

  async function optionsFor(name: string, configuration: string, exports: string[] = ['default']) {
    const project = `runtime-${name}`;
    await write(
      `${project}/workers/painter/wrangler.toml`,
      `name = "painter"\nmain = "index.ts"\n${configuration}`,
    );
    await write(
      `${project}/infrastructure/config-service/wrangler.toml`,
      'name = "config-service"\nmain = "a.ts"',
    );
    const workers = await discoverWorkers(join(folder, project));
    const all = [...sharedDeployables(workers), ...instanceDeployables(workers, 'production')];
    return runtimeWorkers(
      all.map((deployable, index) => ({
        deployable,
        bundle: { code: 'export default {};', exports },
        bucket: deployable.worker.shared ? null : 'prod-images',
        port: 9000 + index,
      })),
      {
        secrets: SECRETS,
        variables: { ALLOWED_ORIGINS: 'http://127.0.0.1:1' },
        outbound: '127.0.0.1:2',
      },
    );
  }

  test('have the bindings of the configuration, the secrets it needs, and the bucket of the instance', async () => {
    const [, painter] = await optionsFor(
      'whole',
      `services = [{ binding = "CONFIG_SERVICE", service = "config-service" }]
       r2_buckets = [{ binding = "IMAGES", bucket_name = "images" }]
       d1_databases = [{ binding = "DB", database_name = "multiagent" }]
       kv_namespaces = [{ binding = "CONFIG_CACHE" }]
       vars = { LOG_LEVEL = "DEBUG", LIMITS = { a = 1 } }
       durable_objects.bindings = [{ name = "LIMITER", class_name = "Limiter" }]
       [[migrations]]
       tag = "v1"
       new_sqlite_classes = ["Limiter"]`,
      ['default', 'Limiter'],
    );
    expect(painter).toMatchObject({
      name: 'painter-production',
      serviceBindings: { CONFIG_SERVICE: 'config-service' },
      r2Buckets: { IMAGES: 'images', IMAGES_PROD_IMAGES: 'prod-images' },
      d1Databases: { DB: 'multiagent' },
      kvNamespaces: { CONFIG_CACHE: 'CONFIG_CACHE' },
      durableObjects: { LIMITER: { className: 'Limiter', useSQLite: true } },
      outboundService: { external: { address: '127.0.0.1:2' } },
      unsafeDirectSockets: [{ host: '127.0.0.1', port: 9001 }],
    });
    expect(painter?.bindings).toEqual({
      LOG_LEVEL: 'DEBUG',
      LIMITS: '{"a":1}',
      ALLOWED_ORIGINS: 'http://127.0.0.1:1',
      SERVICE_TOKEN: 'b',
      CACHE_ENCRYPTION_KEY: 'c',
    });
  });

  test('bind a class that another Worker hosts', async () => {
    const [, painter] = await optionsFor(
      'hosted',
      'durable_objects.bindings = [{ name = "A", class_name = "B", script_name = "config-service" }]',
    );
    expect(painter?.durableObjects).toMatchObject({
      A: { className: 'B', scriptName: 'config-service' },
    });
  });

  test.each([
    ['service', 'services = [{ binding = "X", service = "nobody" }]', 'the Worker nobody'],
    [
      'host',
      'durable_objects.bindings = [{ name = "X", class_name = "Y", script_name = "nobody" }]',
      'the Worker nobody',
    ],
    [
      'class',
      'durable_objects.bindings = [{ name = "X", class_name = "Missing" }]',
      'class Missing, which index.ts does not export',
    ],
    [
      'migration',
      'durable_objects.bindings = [{ name = "X", class_name = "default" }]',
      'no migration names the class default',
    ],
    ['secret', '[secrets]\nrequired = ["OTHER"]', 'the secret OTHER'],
  ])('name what is missing: a %s', async (name, configuration, message) => {
    await expect(optionsFor(name, configuration)).rejects.toThrow(message);
    await expect(optionsFor(name, configuration)).rejects.toThrow('workers/painter/wrangler.toml');
  });
});

describe('a start that cannot succeed', () => {
  test('without a Config Service says so', async () => {
    await write('empty/infrastructure/other/wrangler.toml', 'name = "other"\nmain = "index.ts"');
    await write('empty/infrastructure/other/index.ts', 'export default {};');
    await write('empty/infrastructure/database/migrations/001-a.sql', 'CREATE TABLE a (b TEXT);');
    await write('empty/infrastructure/database/seed.sql', 'SELECT 1;');
    await expect(startLocalSystem({ projectRoot: join(folder, 'empty') })).rejects.toThrow();
  });

  test('on a port that is taken says which, and leaves nothing running', async () => {
    const taken = await serve(() => new Response('taken'), 0);
    try {
      // The mock's place: 20 after the first.
      const start = startLocalSystem({ port: taken.port - 20, interfaces: false });
      await expect(start).rejects.toThrow(`127.0.0.1:${taken.port} cannot be used`);
    } finally {
      await taken.close();
    }
  }, 60_000);

  test('with a damaged state says which file', async () => {
    await write('damaged/secrets.json', '{ "SERVICE_TOKEN": ');
    await expect(localSecrets(join(folder, 'damaged'))).rejects.toThrow('secrets.json is damaged');
    await write('damaged/deployments.json', '[]');
    await expect(readDeployments(join(folder, 'damaged'))).rejects.toThrow('damaged');
  });
});

describe('what goes out', () => {
  test('reaches nobody but the mock', async () => {
    const lines: string[] = [];
    const asked: string[] = [];
    const mock = {
      fetch: (request: Request) => {
        asked.push(request.url);
        return new Response('from the mock');
      },
      reset: () => {},
    };
    const handler = outboundHandler({ mock, apiKey: 'a key' }, (line) => lines.push(line));
    expect((await handler(new Request('https://api.ideogram.ai/generate'))).status).toBe(200);
    expect((await handler(new Request('https://ideogram.ai/api/images/x.png'))).status).toBe(200);
    expect((await handler(new Request('https://example.com/secret?key=1'))).status).toBe(502);
    expect(asked).toHaveLength(2);
    expect(lines).toEqual(['refused: GET example.com/secret: a local system calls nobody outside']);
    const without = outboundHandler(null, () => {});
    expect((await without(new Request('https://api.ideogram.ai/generate'))).status).toBe(502);
  });

  test('has no mock where the project has none, and a broken one is said to be', async () => {
    expect(await loadIdeogram(join(folder, 'nowhere'), {})).toBeNull();
    await write('broken/tests/provider-adapters/mock-ideogram.ts', 'export const other = 1;');
    await expect(loadIdeogram(join(folder, 'broken'), {})).rejects.toThrow(
      'does not export MockIdeogram',
    );
  });
});

describe('pages', () => {
  const HEADERS = `# a comment
/*
  Content-Security-Policy: default-src 'none'
  X-Frame-Options: DENY

/assets/*
  Cache-Control: public, max-age=31536000
`;

  async function site() {
    await write('site/index.html', '<h1>start</h1>');
    await write('site/about.html', '<h1>about</h1>');
    await write('site/assets/a.js', 'let a;');
    await write('site/_headers', HEADERS);
    await write('site/_redirects', '# a comment\n/users/* / 200\n/old /new 301\n');
    await write('secret.txt', 'outside');
    const handler = await pagesHandler(join(folder, 'site'), () => ({ config_service_url: 'x' }));
    return async (path: string) => await handler(new Request(`http://127.0.0.1${path}`));
  }

  test('are served with the headers of their rules', async () => {
    const get = await site();
    const start = await get('/');
    expect(await start.text()).toBe('<h1>start</h1>');
    expect(start.headers.get('Content-Type')).toBe('text/html; charset=utf-8');
    expect(start.headers.get('X-Frame-Options')).toBe('DENY');
    expect(start.headers.get('Cache-Control')).toBeNull();
    const script = await get('/assets/a.js');
    expect(script.headers.get('Content-Type')).toBe('text/javascript; charset=utf-8');
    expect(script.headers.get('Cache-Control')).toBe('public, max-age=31536000');
    expect(await (await get('/about')).text()).toBe('<h1>about</h1>');
  });

  test('are rewritten as the file says, and what is nowhere is a 404', async () => {
    const get = await site();
    expect(await (await get('/users/42')).text()).toBe('<h1>start</h1>');
    expect((await get('/nowhere')).status).toBe(404);
    expect((await get('/old')).status).toBe(404);
  });

  test('have the configuration of this system', async () => {
    const get = await site();
    expect(await (await get('/config.json')).json()).toEqual({ config_service_url: 'x' });
  });

  test('hide their rules and everything outside their folder', async () => {
    const get = await site();
    for (const path of ['/_headers', '/_redirects', '/..%2fsecret.txt', '/%2e%2e/secret.txt']) {
      expect((await get(path)).status).toBe(404);
    }
  });

  test('rules without any are none', () => {
    expect(parseHeaderRules('')).toEqual([]);
    expect(parseRewrites('\n')).toEqual([]);
  });

  test('of this project are found by page and build', async () => {
    for (const { folder: found } of await findInterfaces(ROOT)) {
      expect(found).toContain('interfaces');
    }
    expect(await findInterfaces(folder)).toEqual([]);
  });
});

describe('a schedule', () => {
  const time = new Date('2026-03-01T03:17:00.000Z'); // a Sunday
  test.each([
    ['17 3 * * *', true],
    ['18 3 * * *', false],
    ['* * * * *', true],
    ['*/17 * * * *', true],
    ['*/5 * * * *', false],
    ['2/5 * * * *', true],
    ['10-20 1,3,5 1 3 *', true],
    ['17 3 * * 1', true],
    ['17 3 * * 2-7', false],
  ])('%s is due at a quarter past three: %s', (cron, expected) => {
    expect(isDue(cron, time)).toBe(expected);
  });

  test.each(['* * * *', 'a * * * *', '1-* * * * *'])('%s is refused', (cron) => {
    expect(() => isDue(cron, time)).toThrow(RangeError);
  });

  test('that cannot be read is refused with the name of the Worker', () => {
    const start = () => startSchedule([{ name: 'logging', crons: ['at night'] }], () => {});
    expect(start).toThrow('logging: a schedule has five parts');
  });

  test('runs what is due, once a minute', () => {
    vi.useFakeTimers({ now: new Date('2026-03-01T03:15:30.000Z') });
    try {
      const runs: string[] = [];
      const stop = startSchedule([{ name: 'logging', crons: ['17 3 * * *'] }], (name, cron) =>
        runs.push(`${name} ${cron} ${new Date().toISOString()}`),
      );
      vi.advanceTimersByTime(10 * 60_000);
      expect(runs).toEqual(['logging 17 3 * * * 2026-03-01T03:17:30.000Z']);
      stop();
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a local server', () => {
  test('passes bodies and headers on, and breaks the connection where its handler fails', async () => {
    const server = await serve(async (request) => {
      if (request.method === 'DELETE') {
        throw new Error('broken');
      }
      return new Response(await request.text(), {
        status: 201,
        headers: { 'X-Method': request.method, 'X-Sent': request.headers.get('X-Sent') ?? '' },
      });
    }, 0);
    try {
      const answer = await fetch(server.url, {
        method: 'POST',
        body: 'a body',
        headers: { 'X-Sent': 'yes' },
      });
      expect([answer.status, answer.headers.get('X-Method'), answer.headers.get('X-Sent')]).toEqual(
        [201, 'POST', 'yes'],
      );
      expect(await answer.text()).toBe('a body');
      expect((await fetch(server.url, { method: 'HEAD' })).status).toBe(201);
      await expect(fetch(server.url, { method: 'DELETE' })).rejects.toThrow();
    } finally {
      await server.close();
    }
  });
});
