// People at work, in a real browser against the whole local system: they generate, manage, read logs, and watch the numbers.
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countsInLogs, generate, logIntoAdminPanel, type Stage, setStage } from './support';

/** Longer than it takes until an entry is in the database. */
const LOGGED_WITHIN = { timeout: 20_000, interval: 500 };
const EMAIL = 'painter@example.com';

let stage: Stage;
beforeAll(async () => {
  stage = await setStage();
});
afterAll(async () => {
  await stage.close();
});

/** Clicks until it is true: for what appears only when one asks again. */
async function untilSeen(page: Page, ask: () => Promise<void>, text: string): Promise<void> {
  await expect
    .poll(async () => {
      await ask();
      return await page.getByText(text).count();
    }, LOGGED_WITHIN)
    .toBeGreaterThan(0);
}

async function openAdminPanel(path: string): Promise<Page> {
  const page = await stage.open('admin-panel', path);
  await logIntoAdminPanel(page, stage.system.keys.superadmin);
  return page;
}

describe('the testing GUI', () => {
  async function fillIn(page: Page, key: string, instance: string, prompt: string) {
    await page.getByLabel('API key').fill(key);
    await page.locator('#instance').selectOption(instance);
    await page.locator('#prompt').fill(prompt);
    await page.getByRole('button', { name: 'Generate' }).click();
  }

  it('generates an image and shows it, with everything about it', async () => {
    const page = await stage.open('testing-gui');
    await fillIn(page, stage.system.keys.user, 'development', 'A lighthouse at dusk');
    const image = page.locator('#result img');
    await image.waitFor();
    await expect
      .poll(() => page.evaluate<number>(`document.querySelector('#result img').naturalWidth`))
      .toBeGreaterThan(0);
    const result = await page.locator('#result').innerText();
    expect(result).toContain('development/default/');
    expect(result).toContain('ideogram-4-5');
    expect(result).toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/);
    expect(await image.getAttribute('src')).toContain('/images/development/default/');
  });

  it.each([
    ['a wrong key', 'mas_wrong', 'development', 'x', ['401', 'AUTH_FAILED']],
    ['no access', '', 'production', 'x', ['403', 'FORBIDDEN']],
    ['an unsafe prompt', '', 'development', '[mock:unsafe]', ['422', 'PROVIDER_REJECTED']],
  ])('shows the status and the code for %s', async (_, key, instance, prompt, shown) => {
    const page = await stage.open('testing-gui');
    await fillIn(page, key === '' ? stage.system.keys.user : key, instance, prompt);
    for (const text of shown) {
      await page.locator('#result').getByText(text, { exact: true }).waitFor();
    }
  });
});

describe('the admin panel', () => {
  it('lets an instance be created, edited and deleted', async () => {
    const page = await openAdminPanel('/instances/new');
    await page.getByLabel('Name').fill('Staging');
    await page.getByLabel('Id (optional)').fill('staging');
    await page.getByRole('button', { name: 'Add key' }).click();
    await page.getByRole('textbox', { name: 'Provider' }).fill('ideogram');
    await page.getByLabel('Key', { exact: true }).fill('an-example-provider-key');
    await page.getByRole('button', { name: 'Create instance' }).click();
    await page.getByRole('heading', { level: 1, name: 'Staging' }).waitFor();
    await page.getByText('****-key').waitFor();
    expect(await page.content()).not.toContain('an-example-provider-key');

    await page.getByLabel('Name').fill('Staging EU');
    await page.getByRole('button', { name: 'Add limit' }).click();
    await page.getByRole('textbox', { name: 'Provider' }).fill('ideogram');
    await page.getByLabel('Requests per minute').fill('60');
    await page.getByRole('button', { name: 'Save changes' }).click();
    await page.getByText('Changes saved').waitFor();
    // A deep link, and the session survives the reload.
    await page.reload();
    await page.getByRole('heading', { level: 1, name: 'Staging EU' }).waitFor();
    expect(await page.getByLabel('Requests per minute').inputValue()).toBe('60');
    await page.getByText('****-key').waitFor();

    await page.getByRole('button', { name: 'Delete instance' }).click();
    await page.getByLabel('Type “Staging EU” to confirm').fill('Staging EU');
    await page.getByRole('button', { name: 'Delete for good' }).click();
    await page.getByRole('link', { name: 'Production' }).waitFor();
    expect(await page.getByRole('link', { name: 'Staging EU' }).count()).toBe(0);
  });

  it('lets a user be created, given access and a key, which generates and is found in the logs', async () => {
    const page = await openAdminPanel('/users/new');
    await page.getByLabel('E-mail').fill(EMAIL);
    await page.getByRole('button', { name: 'Create user' }).click();
    await page.getByRole('heading', { level: 1, name: EMAIL }).waitFor();
    await page.getByLabel('Give access to').selectOption({ label: 'Production' });
    await page.getByRole('button', { name: 'Give access' }).click();
    await page.getByRole('button', { name: 'Withdraw access to Production' }).waitFor();

    await page.getByRole('button', { name: 'Generate key' }).click();
    await page.getByRole('button', { name: 'Generate', exact: true }).click();
    const key = await page.getByLabel('The new key').innerText();
    expect(key).toMatch(/^mas_[0-9A-Za-z]{49}$/);
    // Escape does not lose it.
    await page.keyboard.press('Escape');
    expect(await page.getByLabel('The new key').innerText()).toBe(key);
    await page.getByRole('button', { name: 'I have stored it' }).click();
    expect(await page.content()).not.toContain(key);

    const { status, requestId } = await generate(stage.system, key, 'production', 'A red bicycle');
    expect(status).toBe(200);
    await page.getByRole('link', { name: 'Logs' }).last().click();
    await page.getByRole('heading', { level: 1, name: 'Logs' }).waitFor();
    const refresh = () => page.getByRole('button', { name: 'Refresh' }).click();
    await untilSeen(page, refresh, 'request completed');
    await page
      .getByRole('button', { name: /request completed/ })
      .first()
      .click();
    await page.getByRole('dialog').getByText(requestId).first().waitFor();

    const stored = await (await stage.system.database())
      .prepare('SELECT count(*) AS found FROM logs WHERE instr(message || metadata, ?) > 0')
      .bind(key)
      .first();
    expect(stored).toEqual({ found: 0 });
  });

  it('filters logs by instance and level, and by what stands in the address', async () => {
    const { keys } = stage.system;
    const safe = await generate(stage.system, keys.superadmin, 'production', 'A tree');
    const unsafe = await generate(stage.system, keys.superadmin, 'production', '[mock:unsafe]');
    expect([safe.status, unsafe.status]).toEqual([200, 422]);
    const page = await openAdminPanel('/logs?level=WARN&instance_id=production');
    const refresh = () => page.getByRole('button', { name: 'Refresh' }).click();
    await untilSeen(page, refresh, 'PROVIDER_REJECTED');
    const list = page.getByRole('list', { name: /Log entries/ });
    expect(await list.getByText('INFO', { exact: true }).count()).toBe(0);
    await page.getByLabel('Instance').selectOption({ label: 'Development' });
    await expect.poll(() => list.getByText('· production').count()).toBe(0);
    expect(page.url()).toContain('instance_id=development');
    // The way back is the way back.
    await page.goBack();
    await list.getByText('PROVIDER_REJECTED').first().waitFor();
  });

  it('lets nobody in who administers nothing', async () => {
    const page = await stage.open('admin-panel', '/users');
    await logIntoAdminPanel(page, stage.system.keys.user);
    await page.getByText(/does not belong to an administrator/).waitFor();
    expect(await page.getByRole('navigation').count()).toBe(0);
    expect(await page.evaluate<number>('sessionStorage.length')).toBe(0);
  });

  it('fits a phone, and works with the keyboard alone', async () => {
    const page = await stage.open('admin-panel', '/instances');
    await page.setViewportSize({ width: 390, height: 844 });
    await page.getByLabel('API key').focus();
    await page.keyboard.type(stage.system.keys.superadmin);
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: 'Production' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'Production' }).waitFor();
    const focused = 'document.activeElement.tagName';
    await expect.poll(() => page.evaluate<string>(focused)).toBe('H1');
    const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
    expect(await page.evaluate<number>(overflow)).toBe(0);
    const opener = page.getByRole('button', { name: 'Delete instance' });
    await opener.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    expect(await page.evaluate<string>('document.activeElement.textContent')).toBe(
      'Delete instance',
    );
  });
});

describe('the monitoring', () => {
  async function openMonitoring(): Promise<Page> {
    const page = await stage.open('monitoring', '/', { hasOwnClock: true });
    await page.getByLabel('API key of an administrator').fill(stage.system.keys.superadmin);
    await page.getByRole('button', { name: 'Show the dashboard' }).click();
    // Without traffic there is nothing to draw, but there are numbers.
    await page.locator('dl', { hasText: 'Requests' }).waitFor();
    return page;
  }

  const numberAt = async (page: Page, name: string) =>
    Number(
      (await page.locator('dl > div', { hasText: name }).locator('dd').first().innerText()).replace(
        /\D/g,
        '',
      ),
    );

  it('shows after traffic what the table of logs says, and refreshes by itself', async () => {
    const { system } = stage;
    const page = await openMonitoring();
    const before = await numberAt(page, 'Requests');
    const canvas = 'document.querySelector("canvas")?.toDataURL() ?? ""';
    const drawnBefore = await page.evaluate<string>(canvas);

    const statuses: number[] = [];
    for (const prompt of ['A lake', '[mock:no-funds]', '[mock:unsafe]']) {
      const { status } = await generate(system, system.keys.superadmin, 'production', prompt);
      statuses.push(status);
    }
    for (let attempt = 0; attempt < 12; attempt += 1) {
      const { status } = await generate(system, system.keys.user, 'development', 'A hill');
      statuses.push(status);
    }
    expect(statuses.slice(0, 3)).toEqual([200, 502, 422]);
    expect(statuses).toContain(429);

    // The page's clock is moved, not waited for: it asks again every 30 seconds.
    await expect
      .poll(async () => {
        await page.clock.fastForward(31_000);
        return await numberAt(page, 'Requests');
      }, LOGGED_WITHIN)
      .toBeGreaterThanOrEqual(before + statuses.length);
    await expect
      .poll(async () => {
        await page.clock.fastForward(31_000);
        const { requests, limited } = await countsInLogs(system);
        return {
          requestsDiffer: requests !== (await numberAt(page, 'Requests')),
          limitedDiffer: limited !== (await numberAt(page, 'Rate limit hits')),
        };
      }, LOGGED_WITHIN)
      .toEqual({ requestsDiffer: false, limitedDiffer: false });
    await expect.poll(() => page.evaluate<string>(canvas)).not.toBe(drawnBefore);
  });

  it('filters by instance and by range', async () => {
    const { system } = stage;
    await generate(system, system.keys.user, 'development', 'A field');
    const page = await openMonitoring();
    const isThatOfDevelopment = async () => {
      await page.getByRole('button', { name: 'Refresh' }).click();
      const { requests } = await countsInLogs(system, 'development');
      return requests > 0 && requests === (await numberAt(page, 'Requests'));
    };
    await page.getByText(/^All instances \(/).click();
    await page.getByRole('checkbox', { name: /development/ }).check();
    await expect.poll(isThatOfDevelopment, LOGGED_WITHIN).toBe(true);
    await page.getByRole('radio').last().check({ force: true });
    await expect.poll(() => page.url()).toMatch(/range=week/);
    await expect.poll(isThatOfDevelopment, LOGGED_WITHIN).toBe(true);
  });

  it('fits a phone, with every column of its tables', async () => {
    await generate(stage.system, stage.system.keys.superadmin, 'production', 'A pond');
    const page = await openMonitoring();
    await page.setViewportSize({ width: 390, height: 844 });
    await page.getByRole('button', { name: 'Refresh' }).click();
    for (const summary of await page.getByText('Show as table').all()) {
      await summary.click();
    }
    const regions = page.getByRole('region', { name: /, as a table$/ });
    await expect.poll(() => regions.count()).toBe(6);
    const hidden = `[...document.querySelectorAll('html, section[aria-label$="as a table"]')].map(
      ({ scrollWidth, clientWidth }) => Math.max(0, scrollWidth - clientWidth))`;
    expect(await page.evaluate<number[]>(hidden)).toEqual([0, 0, 0, 0, 0, 0, 0]);
  });
});

describe('all of them together', () => {
  it('put no key into any address', () => {
    expect(stage.addresses.length).toBeGreaterThan(50);
    expect(stage.addresses.filter((address) => address.includes('mas_'))).toEqual([]);
  });

  it('left no complaint in the console of the browser', () => {
    expect(stage.complaints).toEqual([]);
  });
});
