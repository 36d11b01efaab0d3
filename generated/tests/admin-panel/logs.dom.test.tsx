// The logs: each filter as the request that it sends, search, details, and text that stays text.
import { screen, waitFor, within } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LogEntry } from '@/interfaces/admin-panel/src/api/types';
import { FakeApi, refusal } from './fake-api';
import { logOf } from './fixtures';
import { closePanel, openPanel, press, type } from './support';

const OTHER_REQUEST = '7c1a2f0e-5d44-4c6b-8a35-2e9d10b4f6a1';

let api: FakeApi;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-01T10:00:00.000Z') });
  api = new FakeApi();
  api.logs = [
    logOf('one', { level: 'ERROR', message: 'provider failed', metadata: { status: 502 } }),
    logOf('two', { message: 'provider asked' }),
    logOf('three', { request_id: OTHER_REQUEST, instance_id: 'development', user_id: null }),
  ];
});
afterEach(() => {
  closePanel();
  vi.useRealTimers();
});

const lastQuery = () => api.requests.findLast(({ path }) => path === '/logs')?.query;
const messages = async () =>
  within(await screen.findByRole('list', { name: /Log entries/ }))
    .getAllByRole('button')
    .map(({ textContent }) => textContent);

describe('filters', () => {
  it('are none at first', async () => {
    openPanel(api, '/logs');
    expect(await messages()).toHaveLength(3);
    expect(lastQuery()).toEqual({});
  });

  it('by instance', async () => {
    const panel = openPanel(api, '/logs');
    await screen.findByRole('option', { name: 'Development' });
    await type('Instance', 'development');
    await waitFor(() => expect(lastQuery()).toEqual({ instance_id: 'development' }));
    expect(panel.address()).toBe('/logs?instance_id=development');
    await waitFor(async () => expect(await messages()).toHaveLength(1));
  });

  it('by level, several of them', async () => {
    const panel = openPanel(api, '/logs');
    (await screen.findByLabelText<HTMLInputElement>('ERROR')).click();
    await waitFor(() => expect(lastQuery()).toEqual({ level: 'ERROR' }));
    screen.getByLabelText<HTMLInputElement>('WARN').click();
    await waitFor(() => expect(lastQuery()).toEqual({ level: 'WARN,ERROR' }));
    expect(panel.address()).toBe('/logs?level=WARN%2CERROR');
    screen.getByLabelText<HTMLInputElement>('ERROR').click();
    await waitFor(() => expect(lastQuery()).toEqual({ level: 'WARN' }));
  });

  it('by a time back from now', async () => {
    const panel = openPanel(api, '/logs');
    await type('Time', '1h');
    await waitFor(() => expect(lastQuery()).toEqual({ from: '2026-03-01T09:00:00.000Z' }));
    expect(panel.address()).toBe('/logs?period=1h');
  });

  it('from one time to another, entered in the time of this place', async () => {
    openPanel(api, '/logs?period=custom');
    await type('From', '2026-02-28T08:00:00');
    await type('To (not included)', '2026-02-28T09:30:00');
    await waitFor(() =>
      expect(lastQuery()).toEqual({
        from: new Date('2026-02-28T08:00:00').toISOString(),
        to: new Date('2026-02-28T09:30:00').toISOString(),
      }),
    );
    // With or without the seconds, as the browser likes.
    expect(screen.getByLabelText<HTMLInputElement>('From').value).toMatch(
      /^2026-02-28T08:00(:00)?$/,
    );
  });

  it('by text, component, request and user, when they are sent', async () => {
    const panel = openPanel(api, '/logs');
    await type('Search in messages', '50% off_');
    await type('Component', ' lookup ');
    await type('Request id', OTHER_REQUEST);
    await type('User id', 'developer');
    expect(lastQuery()).toEqual({});
    await press('Search');
    await waitFor(() =>
      expect(lastQuery()).toEqual({
        search: '50% off_',
        component: 'lookup',
        request_id: OTHER_REQUEST,
        user_id: 'developer',
      }),
    );
    expect(panel.address()).toContain('search=50%25+off_');
  });

  it('come from an address that was shared, and are cleared together', async () => {
    const panel = openPanel(api, '/logs?level=ERROR&search=provider&instance_id=production');
    expect(await messages()).toEqual([expect.stringContaining('provider failed')]);
    expect(screen.getByLabelText<HTMLInputElement>('Search in messages').value).toBe('provider');
    expect(screen.getByLabelText<HTMLInputElement>('ERROR').checked).toBe(true);
    await press('Clear all filters');
    await waitFor(async () => expect(await messages()).toHaveLength(3));
    expect(panel.address()).toBe('/logs');
    expect(screen.getByLabelText<HTMLInputElement>('Search in messages').value).toBe('');
  });

  it('that make no sense are left out', async () => {
    openPanel(api, '/logs?level=LOUD&period=custom&from=yesterday');
    expect(await messages()).toHaveLength(3);
    expect(lastQuery()).toEqual({});
  });
});

describe('the list', () => {
  it('loads more with the same filters, also those that count back from now', async () => {
    api.pageSize = 2;
    openPanel(api, '/logs?period=1h');
    expect(await messages()).toHaveLength(2);
    vi.setSystemTime(new Date('2026-03-01T10:05:00.000Z'));
    await press('Load more');
    await waitFor(async () => expect(await messages()).toHaveLength(3));
    expect(lastQuery()).toEqual({ from: '2026-03-01T09:00:00.000Z', cursor: '2' });
  });

  it('begins anew when it is refreshed', async () => {
    openPanel(api, '/logs?period=1h');
    expect(await messages()).toHaveLength(3);
    vi.setSystemTime(new Date('2026-03-01T10:05:00.000Z'));
    api.logs.unshift(logOf('four', { message: 'newest' }));
    await press('Refresh');
    await waitFor(async () => expect((await messages())[0]).toContain('newest'));
    expect(lastQuery()).toEqual({ from: '2026-03-01T09:05:00.000Z' });
  });

  it('says when nothing matches, and when the service fails', async () => {
    openPanel(api, '/logs?search=nothing');
    expect(await screen.findByText('Nothing matches these filters.')).toBeTruthy();
    closePanel();
    api.intercept = ({ path }) =>
      path === '/logs' ? refusal(500, 'INTERNAL_ERROR', 'something failed') : undefined;
    openPanel(api, '/logs');
    expect(await screen.findByText('The service failed')).toBeTruthy();
    expect(screen.getByText('0b9d6f6e-3f0a-4b8e-9d53-6f2b8a1c7e10')).toBeTruthy();
  });

  it('shows HTML in an entry as the text that it is', async () => {
    const attack = '<img src=x onerror="globalThis.wasAttacked = true"><b>bold</b>';
    const entry: Partial<LogEntry> = { message: attack, component: attack, metadata: { attack } };
    api.logs = [logOf('evil', entry)];
    openPanel(api, '/logs');
    expect((await messages())[0]).toContain(attack);
    await press(/onerror/);
    const dialog = await screen.findByRole('dialog', { name: 'Log entry' });
    expect(dialog.textContent).toContain(attack);
    expect(document.querySelector('img[src=x], b')).toBeNull();
    expect(globalThis).not.toHaveProperty('wasAttacked');
  });
});

describe('details', () => {
  it('show the whole entry, and what else the request left', async () => {
    openPanel(api, '/logs');
    await press(/provider failed/);
    const dialog = await screen.findByRole('dialog', { name: 'Log entry' });
    expect(dialog.textContent).toContain('"status": 502');
    expect(dialog.textContent).toContain('2026-03-01T10:00:00.000Z');
    const same = within(dialog).getByRole('region', { name: 'The same request' });
    (await within(same).findByRole('button', { name: /provider asked/ })).click();
    await waitFor(() => expect(dialog.querySelector('p')?.textContent).toBe('provider asked'));
    expect(within(same).getByRole('button', { name: /provider failed/ })).toBeTruthy();
  });

  it('say when the request left nothing else, and who it was for if nobody', async () => {
    openPanel(api, '/logs?instance_id=development');
    await press(/request completed/);
    const dialog = await screen.findByRole('dialog', { name: 'Log entry' });
    expect(await within(dialog).findByText('It left no other entry.')).toBeTruthy();
    expect(within(dialog).getByText('–')).toBeTruthy();
  });

  it('lead to the request alone', async () => {
    const panel = openPanel(api, '/logs?level=INFO');
    await press(/request completed/);
    await press('Show only this request');
    await waitFor(() => expect(panel.address()).toBe(`/logs?request_id=${OTHER_REQUEST}`));
    expect(screen.queryByRole('dialog')).toBeNull();
  });

  it('close', async () => {
    openPanel(api, '/logs');
    await press(/provider failed/);
    await press('Close');
    await waitFor(() => expect(screen.queryByRole('dialog')).toBeNull());
  });
});
