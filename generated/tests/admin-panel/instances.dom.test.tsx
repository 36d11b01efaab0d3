// The pages of instances: the list with its statistics, creating, editing, deleting.
import { screen, waitFor, within } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeApi, refusal } from './fake-api';
import { instanceOf, organizationOf } from './fixtures';
import { button, closePanel, follow, heading, openPanel, press, type } from './support';

let api: FakeApi;
beforeEach(() => {
  api = new FakeApi();
});
afterEach(closePanel);

describe('the list', () => {
  it('shows each instance with its requests and errors', async () => {
    api.traffic = { production: [1240, 12, 3] };
    openPanel(api, '/instances');
    const list = await screen.findByRole('list', { name: 'Instances' });
    const [production] = within(list).getAllByRole('listitem');
    expect(production?.textContent).toContain('Production');
    await waitFor(() => expect(production?.textContent).toContain('1,240'));
    expect(
      within(production as HTMLElement)
        .getByRole('img')
        .getAttribute('aria-label'),
    ).toBe('1,240 requests, 12 errors in the last day');
  });

  it('keeps the period in the address', async () => {
    const panel = openPanel(api, '/instances');
    (await screen.findByLabelText<HTMLInputElement>('week')).click();
    await waitFor(() => expect(panel.address()).toBe('/instances?range=week'));
    await waitFor(() =>
      expect(panel.sent('GET', '/metrics').at(-1)?.query).toEqual({ range: 'week' }),
    );
  });

  it('stays useful when there are no statistics', async () => {
    api.intercept = ({ path }) =>
      path === '/metrics' ? refusal(500, 'INTERNAL_ERROR', 'something failed') : undefined;
    openPanel(api, '/instances');
    expect(await screen.findByRole('link', { name: 'Production' })).toBeTruthy();
    expect(await screen.findByText('The service failed')).toBeTruthy();
    expect(screen.getAllByText('No statistics')).toHaveLength(2);
  });

  it('loads more by the cursor', async () => {
    api.pageSize = 1;
    const panel = openPanel(api, '/instances');
    await screen.findByRole('link', { name: 'Production' });
    expect(screen.queryByRole('link', { name: 'Development' })).toBeNull();
    await press('Load more');
    expect(await screen.findByRole('link', { name: 'Development' })).toBeTruthy();
    expect(screen.getByRole('link', { name: 'Production' })).toBeTruthy();
    expect(panel.sent('GET', '/instance').at(-1)?.query).toEqual({ cursor: '1' });
    await waitFor(() => expect(screen.queryByRole('button', { name: 'Load more' })).toBeNull());
  });

  it('says when more could not be loaded, and keeps what is there', async () => {
    api.pageSize = 1;
    openPanel(api, '/instances');
    await screen.findByRole('link', { name: 'Production' });
    api.intercept = ({ path }) => (path === '/instance' ? 'unreachable' : undefined);
    await press('Load more');
    expect(await screen.findByText('The Config Service cannot be reached')).toBeTruthy();
    expect(screen.getByRole('link', { name: 'Production' })).toBeTruthy();
  });

  it('says when there is none', async () => {
    api.instances = [];
    openPanel(api, '/instances');
    expect(await screen.findByText('No instance yet')).toBeTruthy();
  });

  it('tries again after a failure', async () => {
    api.intercept = ({ path }) => (path === '/instance' ? 'unreachable' : undefined);
    openPanel(api, '/instances');
    await screen.findByText('The Config Service cannot be reached');
    api.intercept = () => undefined;
    await press('Try again');
    expect(await screen.findByRole('link', { name: 'Production' })).toBeTruthy();
  });

  it('lets a superadmin choose one of several organisations', async () => {
    api.organizations.push(organizationOf('acme', 'Acme'));
    api.instances.push(instanceOf('acme-main', 'Acme Main', { org_id: 'acme' }));
    const panel = openPanel(api, '/instances');
    await type('Organisation', 'acme');
    await waitFor(() => expect(panel.address()).toBe('/instances?org=acme'));
    await waitFor(() => expect(screen.queryByRole('link', { name: 'Production' })).toBeNull());
    expect(await screen.findByRole('link', { name: 'Acme Main' })).toBeTruthy();
  });
});

describe('creating', () => {
  it('sends what was entered, and shows the new instance', async () => {
    const panel = openPanel(api, '/instances/new', { as: 'admin' });
    await type('Name', ' Staging ');
    await type('Id (optional)', 'staging');
    await press('Add key');
    await type('Provider', 'ideogram');
    await type('Key', 'ideogram-secret-0123456789');
    await press('Create instance');
    expect(await heading('Staging')).toBeTruthy();
    expect(panel.only('POST', '/instance').body).toEqual({
      instance_id: 'staging',
      org_id: 'example-org',
      name: 'Staging',
      config: {
        api_keys: { ideogram: 'ideogram-secret-0123456789' },
        rate_limits: {},
        worker_urls: {},
        r2_bucket: null,
      },
    });
    expect(panel.address()).toBe('/instances/id/staging');
    expect(document.body.innerHTML).not.toContain('ideogram-secret');
    expect(await screen.findByText('Staging created')).toBeTruthy();
  });

  it('checks before sending, and takes the focus to the first mistake', async () => {
    const panel = openPanel(api, '/instances/new');
    await press('Add limit');
    await type('Provider', 'Ideogram');
    await type('Requests per minute', '12.5');
    await press('Create instance');
    expect(await screen.findByText('Enter a name.')).toBeTruthy();
    expect(screen.getByText(/Use up to 32 lower-case letters/)).toBeTruthy();
    expect(screen.getByText('Enter a whole number from 1 to 1,000,000.')).toBeTruthy();
    await waitFor(() => expect(document.activeElement).toBe(screen.getByLabelText('Name')));
    expect(panel.sent('POST', '/instance')).toEqual([]);
  });

  it('shows that an id is taken at its field, and keeps what was typed', async () => {
    openPanel(api, '/instances/new');
    await type('Name', 'Another');
    await type('Id (optional)', 'production');
    await press('Create instance');
    const field = screen.getByLabelText<HTMLInputElement>('Id (optional)');
    await waitFor(() => expect(field.getAttribute('aria-invalid')).toBe('true'));
    expect(field.value).toBe('production');
    expect(screen.getByLabelText<HTMLInputElement>('Name').value).toBe('Another');
  });

  it('asks before what was typed is left behind', async () => {
    const panel = openPanel(api, '/instances/new');
    await type('Name', 'Half');
    await follow('Cancel');
    await screen.findByRole('dialog', { name: 'Leave without saving?' });
    await press('Stay');
    expect(panel.address()).toBe('/instances/new');
    await follow('Cancel');
    await press('Discard changes');
    await waitFor(() => expect(panel.address()).toBe('/instances'));
  });
});

describe('editing', () => {
  const PATH = '/instance/production';

  it('sends only what changed: a masked key stays what it was', async () => {
    const panel = openPanel(api, '/instances/id/production');
    await type('Name', 'Production EU');
    await type('Requests per minute', '600');
    await press('Save changes');
    await screen.findByText('Changes saved');
    expect(panel.only('PATCH', PATH).body).toEqual({
      name: 'Production EU',
      config: { rate_limits: { ideogram: { rpm: 600, tpm: 100000 } } },
    });
    expect(api.instances[0]?.api_keys).toEqual({ ideogram: '****a1b2' });
    expect(await heading('Production EU')).toBeTruthy();
  });

  it('sends a key that was replaced, and keeps the old one if it was not after all', async () => {
    const panel = openPanel(api, '/instances/id/production');
    await press('Replace the key of ideogram');
    await press('Keep ****a1b2');
    await press('Replace the key of ideogram');
    await type('New key', 'ideogram-secret-9876543210');
    await press('Save changes');
    await screen.findByText('Changes saved');
    expect(panel.only('PATCH', PATH).body).toEqual({
      config: { api_keys: { ideogram: 'ideogram-secret-9876543210' } },
    });
    expect(await screen.findByText('****3210')).toBeTruthy();
  });

  it('never sends a mask as a key', async () => {
    const panel = openPanel(api, '/instances/id/production');
    await press('Replace the key of ideogram');
    await type('New key', '****zzzz');
    await press('Save changes');
    expect(await screen.findByText('This is a mask, not a key.')).toBeTruthy();
    expect(panel.sent('PATCH', PATH)).toEqual([]);
  });

  it('removes with null what was removed', async () => {
    const panel = openPanel(api, '/instances/id/production');
    await press('Remove the key of ideogram');
    await press('Remove the limit of ideogram');
    await press('Remove the address of image-gen');
    await type('R2 bucket', '');
    await press('Save changes');
    await screen.findByText('Changes saved');
    expect(panel.only('PATCH', PATH).body).toEqual({
      config: {
        api_keys: { ideogram: null },
        rate_limits: { ideogram: null },
        worker_urls: { 'image-gen': null },
        r2_bucket: null,
      },
    });
  });

  it('takes the configuration as JSON, masks included', async () => {
    const panel = openPanel(api, '/instances/id/production');
    await press('Edit the configuration as JSON');
    const editor = await screen.findByLabelText<HTMLTextAreaElement>('Configuration as JSON');
    const config = JSON.parse(editor.value);
    expect(config.api_keys).toEqual({ ideogram: '****a1b2' });
    await type('Configuration as JSON', '{ "rate_limits": ');
    await press('Apply to the form');
    expect(await screen.findByText(/This is not JSON/)).toBeTruthy();
    config.rate_limits.local = { rpm: 5 };
    await type('Configuration as JSON', JSON.stringify(config));
    await press('Apply to the form');
    await press('Save changes');
    await screen.findByText('Changes saved');
    expect(panel.only('PATCH', PATH).body).toEqual({
      config: { rate_limits: { local: { rpm: 5 } } },
    });
  });

  it("shows the service's message at the field that it names", async () => {
    api.intercept = ({ method }) =>
      method === 'PATCH'
        ? refusal(400, 'VALIDATION_FAILED', 'config.rate_limits.ideogram.rpm: is too many')
        : undefined;
    openPanel(api, '/instances/id/production');
    await type('Requests per minute', '700');
    await press('Save changes');
    const field = screen.getByLabelText<HTMLInputElement>('Requests per minute');
    await waitFor(() => expect(field.getAttribute('aria-invalid')).toBe('true'));
    expect(screen.getByText('is too many')).toBeTruthy();
    expect(field.value).toBe('700');
  });

  it('notices that somebody else changed the instance, and saves only when told so', async () => {
    const panel = openPanel(api, '/instances/id/production');
    await type('Requests per minute', '600');
    Object.assign(api.instances[0] ?? {}, {
      name: 'Renamed',
      updated_at: '2026-03-01T11:00:00.000Z',
    });
    await press('Save changes');
    await screen.findByText(/Somebody else changed this instance/);
    expect(panel.sent('PATCH', PATH)).toEqual([]);
    await press('Save my changes');
    await screen.findByText('Changes saved');
    expect(panel.only('PATCH', PATH).body).toEqual({
      config: { rate_limits: { ideogram: { rpm: 600, tpm: 100000 } } },
    });
    expect(await heading('Renamed')).toBeTruthy();
  });

  it('shows the present state instead of an outdated one, if that is wanted', async () => {
    openPanel(api, '/instances/id/production');
    await type('Name', 'Mine');
    Object.assign(api.instances[0] ?? {}, {
      name: 'Theirs',
      updated_at: '2026-03-01T11:00:00.000Z',
    });
    await press('Save changes');
    await press('Discard mine and show the present state');
    expect(screen.getByLabelText<HTMLInputElement>('Name').value).toBe('Theirs');
  });

  it('shows who has access, and says when the instance does not exist', async () => {
    openPanel(api, '/instances/id/development');
    expect(await screen.findByRole('link', { name: 'developer@example.com' })).toBeTruthy();
    closePanel();
    openPanel(api, '/instances/id/nope');
    expect(await screen.findByText('there is no instance nope')).toBeTruthy();
  });
});

describe('deleting', () => {
  it('says what goes with it, wants the name typed, and deletes', async () => {
    const panel = openPanel(api, '/instances/id/production');
    await press('Delete instance');
    const dialog = await screen.findByRole('dialog', { name: 'Delete Production?' });
    expect(await within(dialog).findByText(/Content Forge/)).toBeTruthy();
    const confirm = (await button('Delete for good')) as HTMLButtonElement;
    expect(confirm.disabled).toBe(true);
    await type(/Type “Production”/, 'Production');
    expect(confirm.disabled).toBe(false);
    await press('Delete for good');
    await heading('Instances');
    expect(panel.sent('DELETE', '/instance/production')).toHaveLength(1);
    expect(await screen.findByRole('link', { name: 'Development' })).toBeTruthy();
    expect(screen.queryByRole('link', { name: 'Production' })).toBeNull();
  });

  it('stays open with the reason when it fails', async () => {
    openPanel(api, '/instances/id/production');
    await press('Delete instance');
    await type(/Type “Production”/, 'Production');
    api.intercept = () => refusal(409, 'CONFLICT', 'not now');
    await press('Delete for good');
    expect(await screen.findByText('not now')).toBeTruthy();
    await press('Cancel');
    await waitFor(() => expect(screen.queryByRole('dialog')).toBeNull());
  });
});
