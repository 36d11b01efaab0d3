// The key: asked for once, kept for the tab, in no address; and what stands before it, the configuration.
import { screen } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { TIME_LIMIT_MS } from '@/interfaces/monitoring/src/api';
import {
  begin,
  CONFIG_SERVICE,
  end,
  enterKey,
  type FakeService,
  json,
  KEY,
  open,
  openDashboard,
  pass,
  press,
  REQUEST_ID,
  refusal,
} from './support';

vi.mock('chart.js', () => import('./fake-chart'));

let service: FakeService;

beforeEach(() => {
  service = begin();
});
afterEach(end);

const problem = () => screen.getByRole('alert').textContent;

describe('the key', () => {
  test('opens the dashboard, and goes into the header of every call', async () => {
    await openDashboard(service);
    expect(screen.getByRole('heading', { name: 'Requests' })).toBeTruthy();
    expect(new Set(service.sent.map(({ authorization }) => authorization))).toEqual(
      new Set([`Bearer ${KEY}`]),
    );
  });

  test('is in session storage only: in no address, no other storage, not on the page', async () => {
    await openDashboard(service);
    expect(JSON.stringify({ ...sessionStorage })).toContain(KEY);
    expect(JSON.stringify({ ...localStorage })).not.toContain(KEY);
    expect(document.cookie).toBe('');
    expect(`${location.href} ${service.sent.map(({ url }) => url)}`).not.toContain(KEY);
    expect(document.documentElement.outerHTML).not.toContain(KEY);
  });

  test('is asked for once: the same tab opens at the dashboard again', async () => {
    const { unmount } = await openDashboard(service);
    unmount();
    await open(service);
    expect(screen.getByRole('heading', { name: 'Requests' })).toBeTruthy();
  });

  test('can be forgotten', async () => {
    await openDashboard(service);
    await press('Forget key');
    expect(screen.getByLabelText('API key of an administrator')).toBeTruthy();
    expect(sessionStorage).toHaveLength(0);
    expect(document.documentElement.outerHTML).not.toContain(KEY);
  });

  test('that is wrong is refused and not kept', async () => {
    await open(service);
    await enterKey('mas_wrong');
    expect(problem()).toContain('The key was not accepted');
    expect(sessionStorage).toHaveLength(0);
    await enterKey();
    expect(screen.getByRole('heading', { name: 'Requests' })).toBeTruthy();
  });

  test.each([
    ['', 'Enter a key.'],
    ['mas_ü', 'characters that no key has'],
  ])('"%s" is not sent', async (key, message) => {
    await open(service);
    await enterKey(key);
    expect(problem()).toContain(message);
    expect(service.sent).toEqual([]);
  });

  test('works where the browser refuses storage', async () => {
    vi.stubGlobal('sessionStorage', {
      getItem: () => {
        throw new DOMException('', 'SecurityError');
      },
      setItem: () => {
        throw new DOMException('', 'SecurityError');
      },
    });
    try {
      await openDashboard(service);
      expect(screen.getByRole('heading', { name: 'Requests' })).toBeTruthy();
      await press('Forget key');
    } finally {
      vi.unstubAllGlobals();
    }
  });

  test('that is revoked in the middle of work leads back, without the numbers', async () => {
    await openDashboard(service);
    service.metrics = () => refusal(401, 'AUTH_FAILED');
    await pass(30_000);
    expect(problem()).toContain('The key was not accepted');
    expect(screen.queryByRole('heading', { name: 'Requests' })).toBeNull();
    expect(sessionStorage).toHaveLength(0);
  });
});

describe('a key that cannot be checked', () => {
  test.each([
    ['no connection', () => 'unreachable' as const, `${CONFIG_SERVICE} cannot be reached`],
    ['rubbish', () => json(200, '<html>'), 'is no JSON'],
    ['no object', () => json(200, '[]'), 'is no object'],
    ['a fault', () => refusal(500, 'INTERNAL_ERROR'), 'why INTERNAL_ERROR'],
    ['a fault without words', () => json(500, {}), 'gave no reason'],
  ])('because of %s is no wrong key', async (_, behaviour, message) => {
    service.instances = behaviour;
    await openDashboard(service);
    expect(problem()).toContain(message);
  });

  test('in time says so', async () => {
    service.instances = () => 'silent';
    await openDashboard(service);
    expect(screen.getByRole('button', { name: 'Checking…' })).toHaveProperty('disabled', true);
    await pass(TIME_LIMIT_MS);
    expect(problem()).toContain('did not answer within 15 seconds');
  });

  test('for a list that never ends stops asking', async () => {
    service.instances = () => json(200, { items: [{ odd: 1 }], next_cursor: 'again' });
    service.metrics = () => refusal(403, 'FORBIDDEN');
    await openDashboard(service);
    expect(service.sent.filter(({ url }) => url.includes('/instance')).length).toBe(50);
  });
});

test('a key of a plain user is told that metrics are not for it', async () => {
  service.metrics = () => refusal(403, 'FORBIDDEN');
  await openDashboard(service);
  expect(problem()).toContain('This key may not see these metrics');
  expect(problem()).toContain('why FORBIDDEN');
  expect(problem()).toContain(REQUEST_ID);
});

describe('config.json', () => {
  test.each([
    ['missing', () => json(404, ''), 'status 404'],
    ['no JSON', () => json(200, '<!doctype html>'), 'is no JSON'],
    ['without the address', () => json(200, {}), 'no http(s) address'],
    [
      'with another scheme',
      () => json(200, { config_service_url: 'javascript:alert(1)' }),
      'no http(s) address',
    ],
  ])('that is %s is said, and can be asked for again', async (_, behaviour, message) => {
    service.configuration = behaviour;
    await open(service);
    expect(problem()).toContain(message);
    service.configuration = () => json(200, { config_service_url: CONFIG_SERVICE });
    await press('Try again');
    expect(screen.getByLabelText('API key of an administrator')).toBeTruthy();
  });
});
