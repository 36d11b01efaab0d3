// What the form sends, when it sends nothing, and where the key goes.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  buttonNamed,
  CONFIGURATION,
  DEVELOPMENT,
  FakeWorker,
  fill,
  find,
  generate,
  IMAGE,
  json,
  KEY,
  openPage,
  PRODUCTION,
  settle,
  stageText,
} from './support';

let worker: FakeWorker;

beforeEach(async () => {
  vi.useFakeTimers();
  worker = new FakeWorker();
  await openPage(worker);
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const bodySent = (): unknown => JSON.parse(worker.sent[0]?.body ?? 'null');

describe('the request', () => {
  test('is a POST with the key in its header and prompt and instance in its body', async () => {
    worker.next(json(200, IMAGE));
    await generate({ prompt: '  A red fox \n' });
    expect(worker.sent).toHaveLength(1);
    expect(worker.sent[0]).toMatchObject({
      url: `${PRODUCTION}/generate`,
      method: 'POST',
      headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
    });
    expect(bodySent()).toEqual({ prompt: 'A red fox', instance_id: 'production' });
  });

  test('names the model if one is chosen', async () => {
    worker.next(json(200, IMAGE));
    await generate({ model: 'ideogram-v2' });
    expect(bodySent()).toEqual({
      prompt: 'A red fox',
      instance_id: 'production',
      model: 'ideogram-v2',
    });
  });

  test('goes to the Worker of the chosen instance', async () => {
    worker.next(json(200, IMAGE));
    await generate({ instance: 'development' });
    expect(worker.sent[0]?.url).toBe(`${DEVELOPMENT}/generate`);
    expect(bodySent()).toMatchObject({ instance_id: 'development' });
  });

  test('is sent once by a double click, and the button says that it runs', async () => {
    worker.next('silent');
    fill();
    const button = find<HTMLButtonElement>('#generate');
    button.click();
    button.click();
    await settle();
    expect(worker.sent).toHaveLength(1);
    expect(button.disabled).toBe(true);
    expect(button.textContent).toBe('Generating…');
  });

  test('is sent by Ctrl and Enter in the prompt, once', async () => {
    worker.next('silent');
    fill();
    const press = () =>
      find('#prompt').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', ctrlKey: true }));
    press();
    press();
    await settle();
    expect(worker.sent).toHaveLength(1);
  });
});

describe('nothing is sent, and the field says why', () => {
  test.each([
    ['an empty key', { key: ' ' }, 'api-key', 'Enter an API key.'],
    ['a key that no header can carry', { key: 'mas_ü' }, 'api-key', 'characters that no key has'],
    ['an empty prompt', { prompt: ' \n' }, 'prompt', 'Describe the image.'],
    ['a prompt that is too long', { prompt: 'x'.repeat(10_001) }, 'prompt', 'At most 10,000'],
  ])('for %s', async (_, filling, field, message) => {
    await generate(filling);
    expect(worker.sent).toEqual([]);
    expect(find(`#${field}-error`).hidden).toBe(false);
    expect(find(`#${field}-error`).textContent).toContain(message);
    expect(find(`#${field}`).getAttribute('aria-invalid')).toBe('true');
    expect(document.activeElement?.id).toBe(field);
  });

  test('until it is mended', async () => {
    await generate({ key: '' });
    fill();
    expect(find('#api-key-error').hidden).toBe(true);
    expect(find('#api-key').hasAttribute('aria-invalid')).toBe(false);
  });

  test('and the counter tells how long the prompt is', () => {
    fill({ prompt: 'x'.repeat(10_001) });
    expect(find('#prompt-counter').textContent).toBe('10,001 / 10,000');
    expect(find('#prompt-counter').classList.contains('over')).toBe(true);
  });
});

describe('the key', () => {
  test('is typed into a password field without a name', () => {
    const field = find<HTMLInputElement>('#api-key');
    expect(field.type).toBe('password');
    expect(document.querySelectorAll('[name]:not(meta)')).toHaveLength(0);
  });

  test('is in no address, no body, no storage, no console and nowhere on the page', async () => {
    const logs = (['log', 'info', 'warn', 'error', 'debug'] as const).map((method) =>
      vi.spyOn(console, method),
    );
    worker.next(json(200, IMAGE), 'unreachable', json(401, { error: 'no', code: 'AUTH_FAILED' }));
    for (let round = 0; round < 3; round += 1) {
      await generate();
      const { url, body } = worker.sent[round] ?? {};
      expect(`${url} ${body}`).not.toContain(KEY);
      expect(document.documentElement.outerHTML).not.toContain(KEY);
    }
    expect(location.href).not.toContain(KEY);
    expect(document.cookie).toBe('');
    expect(JSON.stringify({ ...localStorage, ...sessionStorage })).not.toContain(KEY);
    expect(logs.flatMap((log) => log.mock.calls)).toEqual([]);
  });
});

describe('config.json', () => {
  const options = (selector: string) =>
    [...find<HTMLSelectElement>(selector).options].map(({ value }) => value);

  test('fills the dropdowns, in its order', () => {
    expect(options('#instance')).toEqual(['production', 'development']);
    expect(options('#model')).toEqual(['', 'ideogram-4-5', 'ideogram-v2']);
  });

  test('needs no models', async () => {
    worker.configuration = () => json(200, { ...CONFIGURATION, models: undefined });
    await openPage(worker);
    expect(options('#model')).toEqual(['']);
  });

  test.each([
    ['missing', () => json(404, ''), 'status 404'],
    ['no JSON', () => json(200, '<!doctype html>'), 'is no JSON'],
    ['unreachable', () => 'unreachable' as const, 'missing beside this page'],
    ['without Workers', () => json(200, {}), 'names no Worker'],
    ['no object', () => json(200, '[]'), 'names no Worker'],
    [
      'with an address that is none',
      () => json(200, { image_worker_urls: { production: 'javascript:alert(1)' } }),
      'no http(s) address for "production"',
    ],
    ['with wrong models', () => json(200, { ...CONFIGURATION, models: [1] }), 'no list of names'],
  ])('that is %s is said, and can be asked for again', async (_, behaviour, message) => {
    worker.configuration = behaviour;
    await openPage(worker);
    expect(stageText()).toContain(message);
    expect(find<HTMLButtonElement>('#generate').disabled).toBe(true);

    worker.configuration = () => json(200, CONFIGURATION);
    buttonNamed('Try again').click();
    await settle();
    expect(stageText()).toContain('No image yet');
    expect(find<HTMLButtonElement>('#generate').disabled).toBe(false);
  });
});
