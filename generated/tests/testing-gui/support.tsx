// The page as index.html has it, and a Worker on 127.0.0.1 by its address, which answers as each test says.
import { vi } from 'vitest';
import html from '@/interfaces/testing-gui/index.html?raw';
import { startPage } from '@/interfaces/testing-gui/src/page';

export const PRODUCTION = 'http://127.0.0.1:8788';
export const DEVELOPMENT = 'http://127.0.0.1:8789';
export const KEY = `mas_${'k'.repeat(49)}`;
export const REQUEST_ID = '0b5ad3f2-93c5-4c1b-8f0e-7a5d54a3f001';
export const JOB_ID = '5c1f0a70-7a2e-4a8e-8d8b-2f6c1f7f9a11';

export const CONFIGURATION = {
  config_service_url: 'http://127.0.0.1:8787',
  image_worker_urls: { production: `${PRODUCTION}/`, development: DEVELOPMENT },
  models: ['ideogram-4-5', 'ideogram-v2'],
};

export const IMAGE = {
  success: true,
  image_url: 'https://cdn.example.com/production/default/1767225600000_image.png',
  r2_path: 'production/default/1767225600000_image.png',
  metadata: {
    provider: 'ideogram',
    model: 'ideogram-v2',
    dimensions: '1024x768',
    generation_time_ms: 3240,
  },
  request_id: REQUEST_ID,
};

export interface SentRequest {
  url: string;
  method: string;
  headers: Record<string, string>;
  body: string | null;
}

/** What the Worker does with a request: it answers, is not there, or stays silent until it is given up. */
export type Behaviour = Response | 'unreachable' | 'silent';

export const json = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  new Response(typeof body === 'string' ? body : JSON.stringify(body), {
    status,
    headers: { 'Content-Type': 'application/json', 'X-Request-ID': REQUEST_ID, ...headers },
  });

export const refusal = (
  status: number,
  code: string,
  fields: object = {},
  headers: Record<string, string> = {},
) => json(status, { error: `why ${code}`, code, request_id: REQUEST_ID, ...fields }, headers);

function silenceUntilAborted(signal: AbortSignal | null | undefined): Promise<Response> {
  return new Promise((_, reject) => {
    signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
  });
}

export class FakeWorker {
  readonly sent: SentRequest[] = [];
  configuration: () => Behaviour = () => json(200, CONFIGURATION);
  readonly #behaviours: Behaviour[] = [];

  /** The answers to come, in order. */
  next(...behaviours: Behaviour[]): void {
    this.#behaviours.push(...behaviours);
  }

  readonly fetch = (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const url = String(input);
    if (url === '/config.json') {
      return this.#behave(this.configuration(), init?.signal);
    }
    const headers = Object.fromEntries(
      [...new Headers(init?.headers)].map(([name, value]) => [name.toLowerCase(), value]),
    );
    const body = typeof init?.body === 'string' ? init.body : null;
    this.sent.push({ url, method: init?.method ?? 'GET', headers, body });
    return this.#behave(this.#behaviours.shift() ?? 'unreachable', init?.signal);
  };

  #behave(behaviour: Behaviour, signal: AbortSignal | null | undefined): Promise<Response> {
    if (behaviour === 'silent') {
      return silenceUntilAborted(signal);
    }
    return behaviour === 'unreachable'
      ? Promise.reject(new TypeError('Failed to fetch'))
      : Promise.resolve(behaviour);
  }
}

/** Lets everything that is due happen, without moving the clock. */
export const settle = () => vi.advanceTimersByTimeAsync(0);

export async function openPage(worker: FakeWorker): Promise<void> {
  // Without its script: the page is started here.
  document.body.innerHTML = /<body>(.*)<script/s.exec(html)?.[1] ?? '';
  await startPage(worker.fetch);
}

export function find<Type extends HTMLElement>(selector: string): Type {
  const node = document.querySelector<Type>(selector);
  if (node === null) {
    throw new Error(`Nothing on the page matches ${selector}.`);
  }
  return node;
}

export function buttonNamed(name: string): HTMLButtonElement {
  const buttons = [...document.querySelectorAll('button')];
  const found = buttons.find(
    (button) => (button.getAttribute('aria-label') ?? button.textContent) === name,
  );
  if (found === undefined) {
    throw new Error(`No button is named "${name}".`);
  }
  return found;
}

function type(selector: string, value: string): void {
  const field = find<HTMLInputElement>(selector);
  field.value = value;
  field.dispatchEvent(new Event('input', { bubbles: true }));
}

interface Filling {
  key?: string;
  prompt?: string;
  model?: string;
  instance?: string;
}

export function fill({ key = KEY, prompt = 'A red fox', model, instance }: Filling = {}): void {
  type('#api-key', key);
  type('#prompt', prompt);
  if (model !== undefined) {
    find<HTMLSelectElement>('#model').value = model;
  }
  if (instance !== undefined) {
    find<HTMLSelectElement>('#instance').value = instance;
  }
}

export async function generate(filling: Filling = {}): Promise<void> {
  fill(filling);
  find<HTMLButtonElement>('#generate').click();
  await settle();
}

/** The rows of the result: name and value. */
export function details(): Record<string, string> {
  const rows = [...document.querySelectorAll('#stage dl > div')];
  return Object.fromEntries(
    rows.map((row) => [
      row.querySelector('dt')?.textContent ?? '',
      row.querySelector('.value')?.textContent ?? '',
    ]),
  );
}

export const stageText = (): string => find('#stage').textContent ?? '';
