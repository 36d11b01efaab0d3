// The whole local system and a real browser in front of it, with a record of what the browser asked for and complained about.
import { existsSync } from 'node:fs';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { type LocalSystem, startLocalSystem } from '@/scripts/local/system';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const DESKTOP = { width: 1280, height: 900 };

interface OpenOptions {
  /** The page's clock can be moved: `page.clock.fastForward()`. */
  hasOwnClock?: boolean;
}

export interface Stage {
  system: LocalSystem;
  /** A fresh profile: nothing that another page stored is there. */
  open: (
    name: 'testing-gui' | 'admin-panel' | 'monitoring',
    path?: string,
    options?: OpenOptions,
  ) => Promise<Page>;
  /** Every address that any page asked for or was at. */
  addresses: string[];
  /** What the browser's console said: violations of the Content-Security-Policy and uncaught errors among it. */
  complaints: string[];
  close: () => Promise<void>;
}

/** A refused request is no fault of the page: it has to show it, and the tests look whether it does. */
const isRefusal = (text: string) =>
  text.startsWith('Failed to load resource: the server responded');

function watch(page: Page, { addresses, complaints }: Pick<Stage, 'addresses' | 'complaints'>) {
  page.on('request', (request) => addresses.push(request.url()));
  page.on('framenavigated', (frame) => addresses.push(frame.url()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !isRefusal(message.text())) {
      complaints.push(message.text());
    }
  });
}

async function launch(): Promise<Browser> {
  if (!existsSync(CHROMIUM)) {
    throw new Error(
      `there is no browser at ${CHROMIUM}: "apt-get install chromium", or name one in CHROMIUM`,
    );
  }
  // Without its sandbox it also runs where there are no user namespaces, as in containers.
  return await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
}

export async function setStage(): Promise<Stage> {
  const browser = await launch();
  const contexts: BrowserContext[] = [];
  const record = { addresses: [] as string[], complaints: [] as string[] };
  try {
    const system = await startLocalSystem();
    return {
      ...record,
      system,
      async open(name, path = '/', { hasOwnClock = false } = {}) {
        const origin = system.urls.interfaces[name];
        if (origin === undefined) {
          throw new Error(`there is no interface ${name}`);
        }
        const context = await browser.newContext({ viewport: DESKTOP, reducedMotion: 'reduce' });
        contexts.push(context);
        const page = await context.newPage();
        watch(page, record);
        if (hasOwnClock) {
          // Before the page sets its first timer.
          await page.clock.install();
        }
        await page.goto(`${origin}${path}`);
        return page;
      },
      async close() {
        await Promise.all(contexts.map((context) => context.close()));
        await browser.close();
        await system.stop();
      },
    };
  } catch (error) {
    await browser.close();
    throw error;
  }
}

export async function logIntoAdminPanel(page: Page, key: string): Promise<void> {
  await page.getByLabel('API key').fill(key);
  await page.getByRole('button', { name: 'Log in' }).click();
}

/** `POST /generate` as a program calls it. */
export async function generate(
  { urls }: LocalSystem,
  key: string,
  instanceId: string,
  prompt: string,
): Promise<{ status: number; requestId: string }> {
  const response = await fetch(`${urls.workers[instanceId]?.['image-gen']}/generate`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ prompt, instance_id: instanceId }),
  });
  const body = (await response.json()) as { request_id: string };
  return { status: response.status, requestId: body.request_id };
}

interface Counts {
  requests: number;
  errors: number;
  limited: number;
}

/** What the table `logs` says, which the dashboards have to agree with. */
export async function countsInLogs(system: LocalSystem, instanceId?: string): Promise<Counts> {
  const database = await system.database();
  const row = await database
    .prepare(
      `SELECT count(*) AS requests,
         coalesce(sum(metadata ->> 'status' >= 500), 0) AS errors,
         coalesce(sum(metadata ->> 'status' = 429), 0) AS limited
       FROM logs
       WHERE metadata ->> 'event' = 'request' AND instance_id IS NOT NULL
         AND (?1 IS NULL OR instance_id = ?1)`,
    )
    .bind(instanceId ?? null)
    .first<Counts>();
  return row ?? { requests: 0, errors: 0, limited: 0 };
}
