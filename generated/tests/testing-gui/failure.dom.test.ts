// Everything that can go wrong is shown as what it is; a job that goes on can be asked for; waiting can be given up.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { retryAfterSecondsOf, TIME_LIMIT_MS } from '@/interfaces/testing-gui/src/worker-client';
import {
  buttonNamed,
  details,
  FakeWorker,
  fill,
  find,
  generate,
  IMAGE,
  JOB_ID,
  json,
  KEY,
  openPage,
  PRODUCTION,
  REQUEST_ID,
  refusal,
  settle,
  stageText,
} from './support';

let worker: FakeWorker;

beforeEach(async () => {
  vi.useFakeTimers({ now: new Date('2026-03-01T10:00:00.000Z') });
  worker = new FakeWorker();
  await openPage(worker);
});

afterEach(() => {
  vi.useRealTimers();
});

const title = () => find('#stage h3').textContent;

describe('a refusal', () => {
  test.each([
    [400, 'VALIDATION_FAILED', 'The request is not valid'],
    [401, 'AUTH_FAILED', 'The key was not accepted'],
    [403, 'FORBIDDEN', 'Not allowed with this key'],
    [404, 'NOT_FOUND', 'Not found'],
    [422, 'PROVIDER_REJECTED', 'The provider rejected this prompt'],
    [502, 'PROVIDER_ERROR', 'The provider failed'],
    [503, 'CONFIG_UNAVAILABLE', 'No configuration to be had'],
    [418, 'SOMETHING_NEW', 'The request failed'],
  ])('with %i shows status, code, message and request id', async (status, code, heading) => {
    worker.next(refusal(status, code));
    await generate();
    expect(title()).toBe(heading);
    expect(stageText()).toContain(`why ${code}`);
    expect(details()).toEqual({
      Status: String(status),
      Code: code,
      'Request id': REQUEST_ID,
    });
    expect(find('#alarm').textContent).toContain(heading);
    expect(find<HTMLButtonElement>('#generate').disabled).toBe(false);
  });

  test('with 429 says when to try again', async () => {
    worker.next(refusal(429, 'RATE_LIMITED', {}, { 'Retry-After': '75' }));
    await generate();
    const at = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' }).format(
      new Date('2026-03-01T10:01:15.000Z'),
    );
    expect(title()).toBe('The rate limit is reached');
    expect(stageText()).toContain(`Try again in 1 min 15 s, at ${at}.`);
    expect(find('#alarm').textContent).toContain('Try again in 1 min 15 s');
  });

  test('without the fields of the contract still shows its status', async () => {
    worker.next(json(500, {}, { 'X-Request-ID': '' }));
    await generate();
    expect(details()).toEqual({ Status: '500', Code: '–', 'Request id': '–' });
  });

  test('with HTML in its message stays text', async () => {
    worker.next(refusal(400, 'VALIDATION_FAILED', { error: '<b id="x">no</b>' }));
    await generate();
    expect(stageText()).toContain('<b id="x">no</b>');
    expect(document.querySelector('#x')).toBeNull();
  });
});

test('Retry-After is read as seconds or as a date, and not at all otherwise', () => {
  const nowMs = Date.parse('2026-03-01T10:00:00.000Z');
  expect(retryAfterSecondsOf('12', nowMs)).toBe(12);
  expect(retryAfterSecondsOf('Sun, 01 Mar 2026 10:00:30 GMT', nowMs)).toBe(30);
  expect(retryAfterSecondsOf('Sun, 01 Mar 2026 09:00:00 GMT', nowMs)).toBe(0);
  expect(retryAfterSecondsOf('soon', nowMs)).toBeNull();
  expect(retryAfterSecondsOf(' ', nowMs)).toBeNull();
  expect(retryAfterSecondsOf(null, nowMs)).toBeNull();
});

describe('no answer of the contract', () => {
  test('a Worker that is not there', async () => {
    worker.next('unreachable');
    await generate();
    expect(title()).toBe('The Worker cannot be reached');
    expect(stageText()).toContain(PRODUCTION);
    expect(details()).toEqual({});
  });

  test.each([200, 502])('rubbish with status %i', async (status) => {
    worker.next(json(status, '<html>gateway</html>'));
    await generate();
    expect(title()).toBe('An answer that cannot be read');
    expect(stageText()).toContain('The answer is no JSON.');
    expect(details()).toEqual({ Status: String(status), 'Request id': REQUEST_ID });
  });

  test.each(['{}', '[]', 'null', '{"image_url": 5}'])('JSON without an image: %s', async (body) => {
    worker.next(json(200, body));
    await generate();
    expect(stageText()).toContain('names no image');
  });
});

describe('while a request runs', () => {
  test('the page counts the seconds, apart from what is read out', async () => {
    worker.next('silent');
    await generate();
    expect(find('#stage').getAttribute('aria-busy')).toBe('true');
    expect(find('#announcement').textContent).toBe('Generating the image…');
    await vi.advanceTimersByTimeAsync(7_000);
    expect(find('.elapsed').textContent).toBe('7 s');
    expect(find('#announcement').textContent).toBe('Generating the image…');
  });

  test('it can be cancelled, and another can follow', async () => {
    worker.next('silent', json(200, IMAGE));
    await generate();
    expect(document.activeElement).toBe(buttonNamed('Cancel'));
    buttonNamed('Cancel').click();
    await settle();
    expect(title()).toBe('Cancelled');
    expect(find('#stage').hasAttribute('aria-busy')).toBe(false);
    await generate();
    expect(details()['R2 path']).toBe(IMAGE.r2_path);
  });

  test('it ends at the time limit', async () => {
    worker.next('silent');
    await generate();
    await vi.advanceTimersByTimeAsync(TIME_LIMIT_MS - 1);
    expect(document.querySelector('#stage h3')).toBeNull();
    await vi.advanceTimersByTimeAsync(1);
    expect(title()).toBe('No answer in time');
    expect(stageText()).toContain('1 min 30 s');
  });

  test('whoever types meanwhile keeps the focus', async () => {
    worker.next('silent');
    await generate();
    find('#prompt').focus();
    await vi.advanceTimersByTimeAsync(TIME_LIMIT_MS);
    expect(document.activeElement?.id).toBe('prompt');
  });
});

describe('a 504', () => {
  const timeout = () => refusal(504, 'PROVIDER_TIMEOUT', { job_id: JOB_ID, status_url: '/jobs/x' });
  const job = (fields: object) => json(200, { job_id: JOB_ID, request_id: REQUEST_ID, ...fields });

  async function ask(name = 'Fetch the result'): Promise<void> {
    buttonNamed(name).click();
    await settle();
  }

  beforeEach(async () => {
    worker.next(timeout());
    await generate();
  });

  test('names the job', () => {
    expect(title()).toBe('The image is not ready yet');
    expect(details()).toMatchObject({ Status: '504', 'Job id': JOB_ID });
  });

  test('and then the job: pending first, then its image', async () => {
    worker.next(job({ status: 'pending' }), job({ ...IMAGE, status: 'completed' }));
    await ask();
    expect(worker.sent[1]).toMatchObject({
      url: `${PRODUCTION}/jobs/${JOB_ID}`,
      method: 'GET',
      headers: { authorization: `Bearer ${KEY}` },
      body: null,
    });
    expect(title()).toBe('Still being generated');
    await ask('Ask again');
    expect(details()).toMatchObject({ 'CDN URL': IMAGE.image_url, 'Request id': REQUEST_ID });
  });

  test('a failed job says why, and is not asked for again', async () => {
    worker.next(job({ status: 'failed', reason: 'PROVIDER_REJECTED' }));
    await ask();
    expect(title()).toBe('The job failed');
    expect(details()).toMatchObject({ Reason: 'PROVIDER_REJECTED', 'Job id': JOB_ID });
    expect(() => buttonNamed('Ask again')).toThrow();
  });

  test('asking can fail, and can be repeated', async () => {
    worker.next('unreachable', job({ ...IMAGE, status: 'completed' }));
    await ask();
    expect(title()).toBe('The Worker cannot be reached');
    await ask('Ask again');
    expect(details()['R2 path']).toBe(IMAGE.r2_path);
  });

  test('asking goes to the Worker that has the job, with the key that is there now', async () => {
    worker.next(job({ status: 'pending' }));
    fill({ key: 'mas_other', instance: 'development' });
    await ask();
    expect(worker.sent[1]).toMatchObject({
      url: `${PRODUCTION}/jobs/${JOB_ID}`,
      headers: { authorization: 'Bearer mas_other' },
    });
  });

  test('without a key nothing is asked', async () => {
    fill({ key: '' });
    await ask();
    expect(worker.sent).toHaveLength(1);
    expect(find('#api-key-error').textContent).toBe('Enter an API key.');
  });
});
