// Getting in, staying in, and getting out.
import { fireEvent, screen, waitFor } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeApi, refusal } from './fake-api';
import { KEYS } from './fixtures';
import { button, closePanel, heading, openPanel, press, type } from './support';

let api: FakeApi;
beforeEach(() => {
  api = new FakeApi();
});
afterEach(closePanel);

async function logInWith(key: string) {
  await type('API key', key);
  await press('Log in');
}

describe('logging in', () => {
  it.each(['admin', 'superadmin'] as const)('lets an %s in', async (role) => {
    const panel = openPanel(api, '/users', { as: 'nobody' });
    await logInWith(`  ${KEYS[role]} `);
    expect(await heading('Users')).toBeTruthy();
    expect(panel.storedKey()).toBe(KEYS[role]);
  });

  it('refuses somebody who administers nothing, and keeps no key', async () => {
    const panel = openPanel(api, '/', { as: 'nobody' });
    await logInWith(KEYS.user);
    expect(await screen.findByText(/does not belong to an administrator/)).toBeTruthy();
    expect(panel.storedKey()).toBeNull();
    expect(api.requests.map(({ path }) => path)).toEqual(['/me']);
  });

  it('says at the field that a key is wrong, and keeps what was typed', async () => {
    openPanel(api, '/', { as: 'nobody' });
    await logInWith('mas_wrong');
    expect(await screen.findByText(/This key is not valid/)).toBeTruthy();
    const field = screen.getByLabelText<HTMLInputElement>('API key');
    expect(field.getAttribute('aria-invalid')).toBe('true');
    expect(field.value).toBe('mas_wrong');
  });

  it.each([
    ['', 'Enter your API key.'],
    ['mas_ü', 'This is not an API key.'],
  ])('sends nothing for %j', async (entered, message) => {
    openPanel(api, '/', { as: 'nobody' });
    await logInWith(entered);
    expect(await screen.findByText(message)).toBeTruthy();
    expect(api.requests).toEqual([]);
  });

  it('hides the key as it is typed, until it is asked to show it', async () => {
    openPanel(api, '/', { as: 'nobody' });
    const field = await screen.findByLabelText<HTMLInputElement>('API key');
    expect(field.type).toBe('password');
    await press('Show the key');
    expect(field.type).toBe('text');
  });

  it('says that the service cannot be reached', async () => {
    api.intercept = () => 'unreachable';
    openPanel(api, '/', { as: 'nobody' });
    await logInWith(KEYS.admin);
    expect(await screen.findByText('The Config Service cannot be reached')).toBeTruthy();
  });
});

describe('a session', () => {
  it('sends the key in the header alone, never in an address', async () => {
    const panel = openPanel(api, '/logs?search=x');
    await heading('Logs');
    await screen.findByText('No entries');
    for (const request of api.requests) {
      expect(request.headers.authorization).toBe(`Bearer ${KEYS.superadmin}`);
      expect(JSON.stringify([request.path, request.query])).not.toContain('mas_');
    }
    expect(panel.address()).not.toContain('mas_');
    expect(JSON.stringify({ ...localStorage })).not.toContain('mas_');
  });

  it('survives a reload, and ends with logging out', async () => {
    const panel = openPanel(api, '/users');
    await heading('Users');
    fireEvent.click((await screen.findAllByRole('button', { name: 'Log out' }))[0] as HTMLElement);
    expect(await heading('Admin panel')).toBeTruthy();
    expect(panel.storedKey()).toBeNull();
  });

  it('is forgotten when the stored key is no longer accepted', async () => {
    api.intercept = () => refusal(401, 'AUTH_FAILED', 'this API key is not valid');
    const panel = openPanel(api, '/users');
    expect(await screen.findByText('Your session has ended. Log in again.')).toBeTruthy();
    expect(panel.storedKey()).toBeNull();
  });

  it('waits for the service instead of being forgotten', async () => {
    api.intercept = () => 'unreachable';
    const panel = openPanel(api, '/users');
    await screen.findByText('The Config Service cannot be reached');
    expect(panel.storedKey()).toBe(KEYS.superadmin);
    api.intercept = () => undefined;
    await press('Try again');
    expect(await heading('Users')).toBeTruthy();
  });

  it('that ends in the middle of work asks for a key on top of the page, and loses nothing', async () => {
    const panel = openPanel(api, '/users/new');
    await type('E-mail', 'new@example.com');
    api.intercept = () => refusal(401, 'AUTH_FAILED', 'this API key is not valid');
    await press('Create user');
    expect(await screen.findByRole('dialog', { name: 'Log in again' })).toBeTruthy();

    api.intercept = () => undefined;
    await logInWith(KEYS.superadmin);
    await waitFor(() => expect(screen.queryByRole('dialog')).toBeNull());
    expect(screen.getByLabelText<HTMLInputElement>('E-mail').value).toBe('new@example.com');
    await press('Create user');
    expect(await heading('new@example.com')).toBeTruthy();
    expect(panel.address()).toBe('/users/id/new-user-1');
  });

  it('shows a 403 as what it is, and does not end with it', async () => {
    api.intercept = ({ path }) =>
      path === '/user' ? refusal(403, 'FORBIDDEN', 'your role does not allow this') : undefined;
    const panel = openPanel(api, '/users');
    expect(await screen.findByText('Not allowed')).toBeTruthy();
    expect(screen.getByText(/403 FORBIDDEN/)).toBeTruthy();
    expect(panel.storedKey()).toBe(KEYS.superadmin);
  });
});

describe('the frame', () => {
  it('says when its configuration is missing, and tries again', async () => {
    const { fetch } = api;
    let isMissing = true;
    Object.assign(api, {
      fetch: (input: string, init: RequestInit) =>
        isMissing ? Promise.resolve(new Response('<!doctype html>')) : fetch(input, init),
    });
    openPanel(api, '/', { as: 'nobody' });
    expect(await screen.findByText(/config.json is missing/)).toBeTruthy();
    isMissing = false;
    await press('Try again');
    expect(await screen.findByLabelText('API key')).toBeTruthy();
  });

  it('leads from / to the instances, and says when there is no page', async () => {
    const panel = openPanel(api, '/');
    await heading('Instances');
    expect(panel.address()).toBe('/instances');
    closePanel();
    openPanel(api, '/nowhere');
    expect(await heading('No such page')).toBeTruthy();
  });

  it('moves the focus to the title of a new page', async () => {
    openPanel(api, '/instances');
    await heading('Instances');
    fireEvent.click(screen.getAllByRole('link', { name: 'Logs' })[0] as HTMLElement);
    const title = await heading('Logs');
    await waitFor(() => expect(document.activeElement).toBe(title));
  });

  it('changes the theme, and keeps the choice', async () => {
    openPanel(api, '/users');
    await heading('Users');
    await press(/Theme: as the system/);
    expect(document.documentElement.dataset.theme).toBe('light');
    await press(/Theme: light/);
    expect(document.documentElement.dataset.theme).toBe('dark');
    expect(localStorage.getItem('admin-panel.theme')).toBe('dark');
    await press(/Theme: dark/);
    expect(document.documentElement.dataset.theme).toBeUndefined();
    expect(await button(/Theme: as the system/)).toBeTruthy();
  });
});
