// Asks every deployed Worker whether it lives and whether it keeps strangers out:
//
//   npm run --silent deploy-all-instances -- --json > deployed.json
//   node .github/workflows/scripts/smoke-test.mjs deployed.json
//
// Nothing here reaches a provider or costs money. A Worker that was deployed for the first time may take some seconds to be
// found, so each question is asked again for a while: SMOKE_TEST_ATTEMPTS times, SMOKE_TEST_PAUSE_MS apart.
import { readFileSync } from 'node:fs';
import { argv, env, exit } from 'node:process';

const ATTEMPTS = Number(env.SMOKE_TEST_ATTEMPTS ?? 10);
const PAUSE_MS = Number(env.SMOKE_TEST_PAUSE_MS ?? 3_000);
const TIME_LIMIT_MS = 10_000;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** What a stranger may not do, by type of Worker. */
const GUARDED = {
  'image-gen': { method: 'POST', path: '/generate', body: { prompt: 'a smoke test' } },
};

async function ask(url, { method = 'GET', body } = {}) {
  const response = await fetch(url, {
    method,
    headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(TIME_LIMIT_MS),
  });
  const answer = await response.json().catch(() => ({}));
  return { status: response.status, answer };
}

async function isAlive(url) {
  const { status, answer } = await ask(`${url}/health`);
  if (status !== 200 || answer.status !== 'ok') {
    throw new Error(`GET /health answered ${status}, not 200 with the status ok`);
  }
}

async function refusesStrangers(url, { method, path, body }) {
  const { status, answer } = await ask(`${url}${path}`, { method, body });
  if (status !== 401 || answer.code !== 'AUTH_FAILED' || !UUID.test(answer.request_id)) {
    throw new Error(
      `${method} ${path} without a key answered ${status} ${answer.code ?? ''}, not 401 AUTH_FAILED with a request_id`,
    );
  }
}

/** The last failure, or null. */
async function tryFor(check) {
  let failure = null;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    try {
      await check();
      return null;
    } catch (error) {
      failure = error.cause === undefined ? error.message : `${error.message}: ${error.cause}`;
    }
    if (attempt < ATTEMPTS) {
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
  return failure;
}

function workersOf(result) {
  const instances = result.instances ?? [result];
  return instances.flatMap((instance) =>
    Object.entries(instance.worker_urls ?? {}).map(([type, url]) => ({
      name: `${type} of ${instance.instance_id}`,
      type,
      url: url.replace(/\/$/, ''),
    })),
  );
}

const [path] = argv.slice(2);
if (path === undefined) {
  console.error('usage: node smoke-test.mjs <the JSON that a deployment printed>');
  exit(2);
}
const workers = workersOf(JSON.parse(readFileSync(path, 'utf8')));
if (workers.length === 0) {
  console.error('no Worker was deployed, so there is nothing that could answer');
  exit(1);
}
let failed = 0;
for (const { name, type, url } of workers) {
  const guarded = GUARDED[type];
  const checks = [['answers', () => isAlive(url)]];
  if (guarded !== undefined) {
    checks.push(['refuses strangers', () => refusesStrangers(url, guarded)]);
  }
  for (const [what, check] of checks) {
    const failure = await tryFor(check);
    console.log(`${failure === null ? 'ok    ' : 'FAILED'} ${name} ${what} (${url})`);
    if (failure !== null) {
      failed += 1;
      console.log(`       ${failure}`);
    }
  }
}
exit(failed === 0 ? 0 : 1);
