// An image and everything about it: shown, copied, and safe whatever it holds.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  buttonNamed,
  details,
  FakeWorker,
  find,
  generate,
  IMAGE,
  json,
  openPage,
  REQUEST_ID,
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
  vi.unstubAllGlobals();
});

describe('a generated image', () => {
  test('is shown with every field of the answer', async () => {
    worker.next(json(200, IMAGE));
    await generate();
    const image = find<HTMLImageElement>('#stage img');
    expect(image.getAttribute('src')).toBe(IMAGE.image_url);
    expect(image.alt).toBe('A red fox');
    expect(details()).toEqual({
      'CDN URL': IMAGE.image_url,
      'R2 path': IMAGE.r2_path,
      Provider: 'ideogram',
      Model: 'ideogram-v2',
      Dimensions: '1024x768',
      'Generation time': '3.24 s',
      'Request id': REQUEST_ID,
    });
    const link = find<HTMLAnchorElement>('#stage a');
    expect(link.getAttribute('href')).toBe(IMAGE.image_url);
    expect(link.rel).toContain('noopener');
  });

  test('is announced, and its heading gets the focus', async () => {
    worker.next(json(200, IMAGE));
    await generate();
    expect(find('#announcement').textContent).toBe('The image is ready.');
    expect(document.activeElement?.id).toBe('result-title');
    expect(find<HTMLButtonElement>('#generate').disabled).toBe(false);
  });

  test('shows a dash for what the answer leaves out', async () => {
    worker.next(json(200, { image_url: IMAGE.image_url }, { 'X-Request-ID': '' }));
    await generate();
    expect(details()).toMatchObject({ 'R2 path': '–', Provider: '–', 'Generation time': '–' });
  });

  test('below a second is timed in milliseconds', async () => {
    worker.next(json(200, { ...IMAGE, metadata: { generation_time_ms: 840 } }));
    await generate();
    expect(details()['Generation time']).toBe('840 ms');
  });

  test('that does not load says so and can be loaded again', async () => {
    worker.next(json(200, IMAGE));
    await generate();
    find('#stage img').dispatchEvent(new Event('error'));
    expect(document.querySelector('#stage img')).toBeNull();
    expect(stageText()).toContain('The image cannot be shown');
    expect(find('#announcement').textContent).toContain('cannot be shown');
    expect(details()['CDN URL']).toBe(IMAGE.image_url);

    buttonNamed('Load again').click();
    const image = find<HTMLImageElement>('#stage img');
    expect(image.classList.contains('loading')).toBe(true);
    image.dispatchEvent(new Event('load'));
    expect(image.classList.contains('loading')).toBe(false);
  });
});

describe('what an answer holds', () => {
  test.each(['javascript:alert(1)', 'data:image/svg+xml,<svg/>', '/images/a.png'])(
    'is no link and no image if its address is %s',
    async (address) => {
      worker.next(json(200, { ...IMAGE, image_url: address }));
      await generate();
      expect(document.querySelector('#stage a, #stage img')).toBeNull();
      expect(stageText()).toContain('neither http nor https');
      expect(details()['CDN URL']).toBe(address);
    },
  );

  test('stays text if it looks like HTML, as does the prompt', async () => {
    const evil = '<img src=x onerror=alert(1)><b>bold</b>';
    worker.next(
      json(200, { ...IMAGE, r2_path: evil, metadata: { ...IMAGE.metadata, model: evil } }),
    );
    await generate({ prompt: evil });
    expect(details()).toMatchObject({ 'R2 path': evil, Model: evil });
    expect(document.querySelectorAll('#stage b')).toHaveLength(0);
    expect(document.querySelectorAll('#stage img')).toHaveLength(1);
    expect(find<HTMLImageElement>('#stage img').alt).toBe(evil);
  });
});

describe('copying', () => {
  test('puts the value on the clipboard and says so for two seconds', async () => {
    const writeText = vi.fn(() => Promise.resolve());
    vi.stubGlobal('navigator', { clipboard: { writeText } });
    worker.next(json(200, IMAGE));
    await generate();
    const button = buttonNamed('Copy CDN URL');
    button.click();
    await settle();
    expect(writeText).toHaveBeenCalledExactlyOnceWith(IMAGE.image_url);
    expect(button.textContent).toBe('Copied');
    expect(find('#announcement').textContent).toBe('Copied CDN URL.');
    await vi.advanceTimersByTimeAsync(2_000);
    expect(button.textContent).toBe('Copy');
  });

  test.each([
    ['refused', { clipboard: { writeText: () => Promise.reject(new Error('no')) } }],
    ['absent', {}],
  ])('says that it failed where the clipboard is %s', async (_, navigator) => {
    vi.stubGlobal('navigator', navigator);
    worker.next(json(200, IMAGE));
    await generate();
    buttonNamed('Copy request id').click();
    await settle();
    expect(buttonNamed('Copy request id').textContent).toBe('Failed');
    expect(find('#announcement').textContent).toContain('Select the text');
  });
});
