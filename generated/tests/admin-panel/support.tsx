// Renders the whole panel at an address, against the fake service, with somebody logged in.
import { cleanup, configure, fireEvent, render, screen } from '@testing-library/react';
import { createMemoryRouter } from 'react-router';
import { App } from '@/interfaces/admin-panel/src/app';
import { ROUTES } from '@/interfaces/admin-panel/src/routes';
import type { FakeApi, SentRequest } from './fake-api';
import { KEYS } from './fixtures';

// The service answers at once; how soon the page shows it is a matter of how busy the machine is.
configure({ asyncUtilTimeout: 10_000 });

const SESSION_KEY = 'admin-panel.key';

export interface OpenedPanel {
  /** Path and query of the page that is shown. */
  address: () => string;
  /** All requests of this method to this path, in order. */
  sent: (method: string, path: string) => SentRequest[];
  /** The one request of this method to this path. */
  only: (method: string, path: string) => SentRequest;
  storedKey: () => string | null;
}

export function openPanel(
  api: FakeApi,
  path: string,
  { as = 'superadmin' }: { as?: keyof typeof KEYS | 'nobody' } = {},
): OpenedPanel {
  if (as !== 'nobody') {
    sessionStorage.setItem(SESSION_KEY, KEYS[as]);
  }
  const router = createMemoryRouter(ROUTES, { initialEntries: [path] });
  render(<App router={router} fetch={api.fetch} />);
  const sent = (method: string, sentPath: string) =>
    api.requests.filter((request) => request.method === method && request.path === sentPath);
  return {
    address: () => router.state.location.pathname + router.state.location.search,
    sent,
    only: (method, sentPath) => {
      const [first, ...others] = sent(method, sentPath);
      if (first === undefined || others.length > 0) {
        throw new Error(`${method} ${sentPath} was sent ${others.length + (first ? 1 : 0)} times`);
      }
      return first;
    },
    storedKey: () => sessionStorage.getItem(SESSION_KEY),
  };
}

export function closePanel(): void {
  cleanup();
  sessionStorage.clear();
  localStorage.clear();
}

export const button = (name: string | RegExp) => screen.findByRole('button', { name });

export async function press(name: string | RegExp): Promise<void> {
  fireEvent.click(await button(name));
}

export async function follow(name: string | RegExp): Promise<void> {
  fireEvent.click(await screen.findByRole('link', { name }));
}

export async function type(label: string | RegExp, text: string): Promise<void> {
  fireEvent.change(await screen.findByLabelText(label), { target: { value: text } });
}

export const heading = (name: string | RegExp) => screen.findByRole('heading', { level: 1, name });
