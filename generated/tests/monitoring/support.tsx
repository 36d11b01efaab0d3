// The dashboard against a Config Service on 127.0.0.1 by its address, which answers as each test says.
import { act, cleanup, fireEvent, render, screen } from '@testing-library/react';
import { vi } from 'vitest';
import { App } from '@/interfaces/monitoring/src/app';
import type { InstanceSeries, Metrics } from '@/interfaces/monitoring/src/metrics';
import { storeKey } from '@/interfaces/monitoring/src/session';
import { Chart } from './fake-chart';

export const CONFIG_SERVICE = 'http://127.0.0.1:8787';
export const KEY = `mas_${'k'.repeat(49)}`;
export const REQUEST_ID = '0b5ad3f2-93c5-4c1b-8f0e-7a5d54a3f002';
/** In the last of 60 buckets of a minute, which begins at 10:59. */
export const NOW = '2026-03-01T10:59:30.000Z';

/** A bucket's numbers at its place, from the end; everything else is without traffic. */
type Ending<Value> = readonly Value[];

function padded<Value>(ending: Ending<Value>, filling: Value, count: number): Value[] {
  return [...Array.from({ length: count - ending.length }, () => filling), ...ending];
}

export function seriesOf(
  id: string,
  requests: Ending<number> = [],
  errors: Ending<number> = [],
  limited: Ending<number> = [],
  response: Ending<number | null> = [],
  count = 60,
): InstanceSeries {
  return {
    instance_id: id,
    requests: padded(requests, 0, count),
    errors: padded(errors, 0, count),
    rate_limited: padded(limited, 0, count),
    response_ms: padded(response, null, count),
  };
}

export const METRICS: Metrics = {
  range: 'hour',
  from: '2026-03-01T10:00:00.000Z',
  to: '2026-03-01T11:00:00.000Z',
  bucket_seconds: 60,
  series: [
    seriesOf('development', [4, 0, 2], [1, 0, 0], [1, 0, 0], [1500, null, 812.5]),
    seriesOf('production', [1000, 200, 300], [0, 0, 3], [0, 20, 0], [2000, 2100, 2200]),
    seriesOf('staging'),
  ],
  totals: {
    requests: 1506,
    errors: 4,
    rate_limited: 21,
    error_rate: 0.0027,
    response_ms: 2034.5,
    cost_microdollars: 118_240_000,
  },
  providers: [
    { provider: 'ideogram', requests: 1200, tokens: 0, cost_microdollars: 96_000_000 },
    { provider: 'other', requests: 300, tokens: 12_345, cost_microdollars: 22_240_000 },
  ],
};

export const EMPTY: Metrics = {
  ...METRICS,
  series: METRICS.series.map(({ instance_id }) => seriesOf(instance_id)),
  totals: {
    requests: 0,
    errors: 0,
    rate_limited: 0,
    error_rate: null,
    response_ms: null,
    cost_microdollars: 0,
  },
  providers: [],
};

export type Behaviour = Response | 'unreachable' | 'silent';

export const json = (status: number, body: unknown): Response =>
  new Response(typeof body === 'string' ? body : JSON.stringify(body), { status });

export const refusal = (status: number, code: string): Response =>
  json(status, { error: `why ${code}`, code, request_id: REQUEST_ID });

const page = (ids: string[], nextCursor: string | null): Response =>
  json(200, {
    items: ids.map((id) => ({ instance_id: id, name: `The ${id}` })),
    next_cursor: nextCursor,
    request_id: REQUEST_ID,
  });

export class FakeService {
  /** The queries of `GET /metrics`, in order. */
  readonly asked: Record<string, string>[] = [];
  readonly sent: { url: string; authorization: string | null }[] = [];
  configuration: () => Behaviour = () => json(200, { config_service_url: `${CONFIG_SERVICE}/` });
  instances: (cursor: string | null) => Behaviour = (cursor) =>
    cursor === null ? page(['staging', 'production'], 'more') : page(['development'], null);
  metrics: () => Behaviour = () => json(200, METRICS);

  readonly fetch = (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const address = String(input);
    if (address === '/config.json') {
      return this.#behave(this.configuration(), init?.signal);
    }
    const url = new URL(address);
    const authorization = new Headers(init?.headers).get('Authorization');
    this.sent.push({ url: address, authorization });
    if (authorization !== `Bearer ${KEY}`) {
      return this.#behave(refusal(401, 'AUTH_FAILED'), init?.signal);
    }
    if (url.pathname === '/instance') {
      return this.#behave(this.instances(url.searchParams.get('cursor')), init?.signal);
    }
    this.asked.push(Object.fromEntries(url.searchParams));
    return this.#behave(this.metrics(), init?.signal);
  };

  #behave(behaviour: Behaviour, signal: AbortSignal | null | undefined): Promise<Response> {
    if (behaviour === 'silent') {
      return new Promise((_, reject) => {
        signal?.addEventListener('abort', () => reject(new DOMException('', 'AbortError')));
      });
    }
    return behaviour === 'unreachable'
      ? Promise.reject(new TypeError('Failed to fetch'))
      : Promise.resolve(behaviour);
  }
}

/** Moves the clock and lets everything happen that is then due. */
export const pass = (milliseconds: number) => act(() => vi.advanceTimersByTimeAsync(milliseconds));

export const settle = () => pass(0);

let hidden = false;

export function setHidden(value: boolean): void {
  hidden = value;
  document.dispatchEvent(new Event('visibilitychange'));
}

export function begin(): FakeService {
  vi.useFakeTimers({ now: new Date(NOW) });
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  hidden = false;
  storeKey(null);
  sessionStorage.clear();
  localStorage.clear();
  Chart.made = [];
  history.replaceState(null, '', '/');
  return new FakeService();
}

export function end(): void {
  cleanup();
  vi.useRealTimers();
}

export async function open(service: FakeService, address = '/') {
  history.replaceState(null, '', address);
  const page = render(<App load={service.fetch} />);
  await settle();
  return page;
}

export async function enterKey(key = KEY): Promise<void> {
  fireEvent.change(screen.getByLabelText('API key of an administrator'), {
    target: { value: key },
  });
  fireEvent.click(screen.getByRole('button', { name: 'Show the dashboard' }));
  await settle();
}

/** The dashboard with its first metrics. */
export async function openDashboard(service: FakeService, address = '/') {
  const page = await open(service, address);
  await enterKey();
  return page;
}

export async function press(name: string): Promise<void> {
  fireEvent.click(screen.getByRole('button', { name }));
  await settle();
}

/** Value and note of a number on top. */
export function tile(name: string): string[] {
  const term = screen.getAllByText(name).find((node) => node.tagName === 'DT');
  return [...(term?.parentElement?.querySelectorAll('dd') ?? [])].map(
    (node) => node.textContent ?? '',
  );
}

export function card(title: string): HTMLElement {
  const section = document.querySelector<HTMLElement>(`section[aria-label="${title}"]`);
  if (section === null) {
    throw new Error(`No card is titled "${title}".`);
  }
  return section;
}

export const legend = (title: string): string[] =>
  [...card(title).querySelectorAll('li')].map((item) =>
    [...item.querySelectorAll('span')].map((part) => part.textContent).join(' '),
  );

export const rowsOf = (root: HTMLElement): string[][] =>
  [...root.querySelectorAll('tr')].map((row) =>
    [...row.querySelectorAll('th, td')].map((cell) => cell.textContent ?? ''),
  );

/** Opens a chart's table and reads it, its head first. */
export function tableOf(title: string): string[][] {
  const details = card(title).querySelector('details');
  if (details === null) {
    throw new Error(`The card "${title}" has no table.`);
  }
  details.open = true;
  fireEvent(details, new Event('toggle'));
  return rowsOf(details);
}
