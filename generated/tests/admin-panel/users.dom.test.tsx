// The pages of users: the list, creating, editing, access to instances, API keys, deleting.
import { screen, waitFor, within } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FakeApi, refusal } from './fake-api';
import { NEW_KEY, organizationOf } from './fixtures';
import { closePanel, heading, openPanel, press, type } from './support';

let api: FakeApi;
beforeEach(() => {
  api = new FakeApi();
});
afterEach(() => {
  closePanel();
  vi.unstubAllGlobals();
});

describe('the list', () => {
  it('shows the users, their roles, and which of them one is', async () => {
    openPanel(api, '/users');
    const rows = within(await screen.findByRole('table'))
      .getAllByRole('row')
      .slice(1);
    expect(rows.map((row) => row.textContent)).toEqual([
      expect.stringContaining('root@example.comyousuperadmin'),
      expect.stringContaining('admin@example.comadmin'),
      expect.stringContaining('developer@example.comuser1 instance'),
    ]);
  });

  it('says when there is none, and when it could not be had', async () => {
    api.intercept = ({ path }) =>
      path === '/user' ? { status: 200, body: { items: [], next_cursor: null } } : undefined;
    openPanel(api, '/users');
    expect(await screen.findByText('No user here')).toBeTruthy();
    closePanel();
    api.intercept = ({ path }) => (path === '/user' ? { status: 200, body: '<html>' } : undefined);
    openPanel(api, '/users');
    expect(await screen.findByText('An unexpected answer')).toBeTruthy();
  });

  it('keeps the organisation in the address', async () => {
    api.organizations.push(organizationOf('acme', 'Acme'));
    const panel = openPanel(api, '/users');
    await type('Organisation', 'acme');
    expect(await screen.findByText('No user here')).toBeTruthy();
    expect(panel.address()).toBe('/users?org=acme');
    expect(panel.sent('GET', '/user').at(-1)?.query).toEqual({ org_id: 'acme' });
  });
});

describe('creating', () => {
  it('sends e-mail, role and organisation, and shows the new user', async () => {
    const panel = openPanel(api, '/users/new', { as: 'admin' });
    await type('E-mail', ' new@example.com ');
    await type('Role', 'admin');
    await press('Create user');
    expect(await heading('new@example.com')).toBeTruthy();
    expect(panel.only('POST', '/user').body).toEqual({
      email: 'new@example.com',
      org_id: 'example-org',
      role: 'admin',
    });
  });

  it('lets only a superadmin make a superadmin', async () => {
    const roles = () =>
      within(screen.getByLabelText('Role'))
        .getAllByRole('option')
        .map(({ textContent }) => textContent);
    openPanel(api, '/users/new', { as: 'admin' });
    await heading('New user');
    expect(roles()).toEqual(['user', 'admin']);
    closePanel();
    openPanel(api, '/users/new', { as: 'superadmin' });
    await heading('New user');
    expect(roles()).toEqual(['user', 'admin', 'superadmin']);
  });

  it.each([
    ['', 'Enter an e-mail address.'],
    ['nobody', 'This is not an e-mail address, such as name@example.com.'],
  ])('sends nothing for %j', async (email, message) => {
    const panel = openPanel(api, '/users/new');
    await type('E-mail', email);
    await press('Create user');
    expect(await screen.findByText(message)).toBeTruthy();
    expect(panel.sent('POST', '/user')).toEqual([]);
  });

  it('shows that an e-mail is taken at its field', async () => {
    openPanel(api, '/users/new');
    await type('E-mail', 'developer@example.com');
    await press('Create user');
    const field = screen.getByLabelText<HTMLInputElement>('E-mail');
    await waitFor(() => expect(field.getAttribute('aria-invalid')).toBe('true'));
    expect(field.value).toBe('developer@example.com');
    expect(screen.getByText('This conflicts with what is there')).toBeTruthy();
  });
});

describe('one user', () => {
  it('is changed by what differs alone', async () => {
    const panel = openPanel(api, '/users/id/developer');
    await type('Role', 'admin');
    await press('Save changes');
    await screen.findByText('Changes saved');
    expect(panel.only('PATCH', '/user/developer').body).toEqual({ role: 'admin' });
  });

  it('neither changes their own role nor deletes their own account', async () => {
    openPanel(api, '/users/id/root');
    await heading('root@example.com');
    expect(screen.getByLabelText<HTMLSelectElement>('Role').disabled).toBe(true);
    expect(screen.getByRole<HTMLButtonElement>('button', { name: 'Delete user' }).disabled).toBe(
      true,
    );
  });

  it('that is a superadmin is only looked at by an admin', async () => {
    openPanel(api, '/users/id/root', { as: 'admin' });
    expect(await screen.findByText(/only superadmins change the account/)).toBeTruthy();
    expect(screen.queryByRole('button', { name: 'Generate key' })).toBeNull();
    expect(screen.queryByRole('button', { name: 'Delete user' })).toBeNull();
  });

  it('is deleted after a question that says what goes with it', async () => {
    const panel = openPanel(api, '/users/id/developer');
    await press('Delete user');
    const dialog = await screen.findByRole('dialog', { name: 'Delete developer@example.com?' });
    expect(dialog.textContent).toContain('access to 1 instance');
    expect(panel.sent('DELETE', '/user/developer')).toEqual([]);
    within(dialog).getByRole('button', { name: 'Delete user' }).click();
    await heading('Users');
    expect(panel.sent('DELETE', '/user/developer')).toHaveLength(1);
  });
});

describe('access', () => {
  it('is given', async () => {
    const panel = openPanel(api, '/users/id/developer');
    await type('Give access to', 'production');
    await press('Give access');
    expect(
      await screen.findByRole('button', { name: 'Withdraw access to Production' }),
    ).toBeTruthy();
    expect(panel.sent('PUT', '/instance/production/access/developer')).toHaveLength(1);
    expect(screen.queryByLabelText('Give access to')).toBeNull();
  });

  it('is withdrawn after a question', async () => {
    const panel = openPanel(api, '/users/id/developer');
    await press('Withdraw access to Development');
    await press('Withdraw access');
    expect(await screen.findByText('No instance has been given to this user.')).toBeTruthy();
    expect(panel.sent('DELETE', '/instance/development/access/developer')).toHaveLength(1);
  });

  it('says why it could not be given', async () => {
    api.intercept = ({ method }) =>
      method === 'PUT' ? refusal(409, 'CONFLICT', 'of another organisation') : undefined;
    openPanel(api, '/users/id/developer');
    await type('Give access to', 'production');
    await press('Give access');
    expect(await screen.findByText('of another organisation')).toBeTruthy();
  });
});

describe('API keys', () => {
  it('are shown in full once, can be copied, and then never again', async () => {
    const written: string[] = [];
    vi.stubGlobal('navigator', {
      clipboard: {
        writeText: (text: string) => {
          written.push(text);
          return Promise.resolve();
        },
      },
    });
    const panel = openPanel(api, '/users/id/developer');
    await press('Generate key');
    await type('Name (optional)', 'Laptop');
    await press('Generate');
    const dialog = await screen.findByRole('dialog', { name: 'Copy this key now' });
    expect(within(dialog).getByLabelText('The new key').textContent).toBe(NEW_KEY);
    await press('Copy key');
    await waitFor(() => expect(written).toEqual([NEW_KEY]));
    expect(await screen.findByRole('button', { name: 'Copied' })).toBeTruthy();
    await press('I have stored it');
    expect(await screen.findByText('Laptop')).toBeTruthy();
    expect(document.documentElement.outerHTML).not.toContain(NEW_KEY);
    expect(JSON.stringify([{ ...sessionStorage }, { ...localStorage }])).not.toContain(NEW_KEY);
    expect(panel.only('POST', '/user/developer/key').body).toEqual({ name: 'Laptop' });
  });

  it('are not lost by an Escape', async () => {
    openPanel(api, '/users/id/developer');
    await press('Generate key');
    await press('Generate');
    const dialog = await screen.findByRole('dialog', { name: 'Copy this key now' });
    dialog.dispatchEvent(new Event('cancel', { cancelable: true }));
    expect(screen.getByLabelText('The new key').textContent).toBe(NEW_KEY);
  });

  it('say when the browser does not let them be copied', async () => {
    vi.stubGlobal('navigator', {});
    openPanel(api, '/users/id/developer');
    await press('Generate key');
    await press('Generate');
    await press('Copy key');
    expect(await screen.findByText(/Select the text and copy it/)).toBeTruthy();
  });

  it('may expire', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-01T10:00:00.000Z') });
    try {
      const panel = openPanel(api, '/users/id/developer');
      await press('Generate key');
      await type('Expires', '30');
      await press('Generate');
      await press('I have stored it');
      expect(panel.only('POST', '/user/developer/key').body).toEqual({
        expires_at: '2026-03-31T10:00:00.000Z',
      });
    } finally {
      vi.useRealTimers();
    }
  });

  it('are revoked after a question', async () => {
    openPanel(api, '/users/id/developer');
    await press('Generate key');
    await press('Generate');
    await press('I have stored it');
    await press(/^Revoke Unnamed key/);
    await press('Revoke key');
    expect(await screen.findByText('revoked')).toBeTruthy();
    expect(api.keys[0]?.revoked_at).not.toBeNull();
    expect(screen.queryByRole('button', { name: /^Revoke Unnamed key/ })).toBeNull();
  });

  it('have names of at most 100 characters', async () => {
    const panel = openPanel(api, '/users/id/developer');
    await press('Generate key');
    await type('Name (optional)', 'x'.repeat(101));
    await press('Generate');
    expect(await screen.findByText('A name may have 100 characters.')).toBeTruthy();
    expect(panel.sent('POST', '/user/developer/key')).toEqual([]);
  });
});
