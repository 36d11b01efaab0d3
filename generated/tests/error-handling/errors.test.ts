// The errors: their codes and statuses, the one form of the answer, and what of them is written to the log.
import { describe, expect, test } from 'vitest';
import { ApiError } from '@/infrastructure/config-service/http/errors';
import { LookupError } from '@/infrastructure/lookup/types';
import {
  AuthenticationError,
  CircuitOpenError,
  ConfigUnavailableError,
  ConflictError,
  ERROR_CODES,
  errorResponse,
  ForbiddenError,
  InternalError,
  MethodNotAllowedError,
  NotFoundError,
  PayloadTooLargeError,
  PlatformError,
  ProviderError,
  ProviderRejectedError,
  ProviderTimeoutError,
  RateLimitedError,
  STATUS_OF_CODE,
  toPlatformError,
  ValidationError,
} from '@/workers/shared/error-handling/errors';
import { serializeError } from '@/workers/shared/error-handling/serialize-error';

const REQUEST_ID = '0b0f7a52-6a0e-4d0b-9a52-0d6f3c1f7a01';
const PLATFORM_KEY = 'mas_00000000000000000000000000000000000000000001yhBtb';

describe('codes', () => {
  test.each([
    [new ValidationError('m'), 'VALIDATION_FAILED', 400],
    [new AuthenticationError('m'), 'AUTH_FAILED', 401],
    [new ForbiddenError('m'), 'FORBIDDEN', 403],
    [new NotFoundError('m'), 'NOT_FOUND', 404],
    [new MethodNotAllowedError(['POST', 'GET']), 'METHOD_NOT_ALLOWED', 405],
    [new ConflictError('m'), 'CONFLICT', 409],
    [new PayloadTooLargeError('m'), 'PAYLOAD_TOO_LARGE', 413],
    [new ProviderRejectedError('m'), 'PROVIDER_REJECTED', 422],
    [new RateLimitedError('m'), 'RATE_LIMITED', 429],
    [new InternalError(), 'INTERNAL_ERROR', 500],
    [new ProviderError('m'), 'PROVIDER_ERROR', 502],
    [new CircuitOpenError('ideogram', 30), 'PROVIDER_ERROR', 502],
    [new ConfigUnavailableError('m'), 'CONFIG_UNAVAILABLE', 503],
    [new ProviderTimeoutError(), 'PROVIDER_TIMEOUT', 504],
  ])('%s is %s, %d, in the one form', async (error, code, status) => {
    expect(error).toBeInstanceOf(PlatformError);
    expect([error.code, error.status, STATUS_OF_CODE[error.code]]).toEqual([code, status, status]);
    expect(error.name).toBe(error.constructor.name);
    const response = errorResponse(error, REQUEST_ID);
    expect(response.status).toBe(status);
    expect(await response.json()).toEqual({ error: error.message, code, request_id: REQUEST_ID });
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-request-id': REQUEST_ID,
    });
  });

  test('every code is a constant of its own name', () => {
    expect(ERROR_CODES.RATE_LIMITED).toBe('RATE_LIMITED');
    expect(Object.keys(ERROR_CODES)).toEqual(Object.values(ERROR_CODES));
    expect(Object.keys(ERROR_CODES)).toEqual(Object.keys(STATUS_OF_CODE));
    expect(Object.keys(ERROR_CODES)).toHaveLength(13);
  });

  test('only what is marked may be tried again', () => {
    expect(new ProviderError('m').retryable).toBe(false);
    expect(new ProviderError('m', { retryable: true }).retryable).toBe(true);
    expect(new RateLimitedError('m').retryable).toBe(false);
    expect(new ProviderTimeoutError().retryable).toBe(false);
    expect(new ProviderTimeoutError('m', { retryable: true }).retryable).toBe(true);
  });
});

describe('answers', () => {
  const retryAfterOf = (error: unknown) =>
    errorResponse(error, REQUEST_ID).headers.get('Retry-After');

  test('a 429 always says when to come back, in whole seconds, at least one', () => {
    expect(retryAfterOf(new RateLimitedError('m', { retryAfterSeconds: 12.2 }))).toBe('13');
    expect(retryAfterOf(new RateLimitedError('m', { retryAfterSeconds: 0 }))).toBe('1');
    expect(retryAfterOf(new RateLimitedError('m'))).toBe('1');
  });

  test('others say it where it is known', () => {
    expect(retryAfterOf(new CircuitOpenError('ideogram', 30))).toBe('30');
    expect(retryAfterOf(new ProviderError('m'))).toBeNull();
    expect(retryAfterOf(new ProviderError('m', { retryAfterSeconds: Number.NaN }))).toBeNull();
  });

  test('401 and 405 carry the headers that belong to them', () => {
    const unauthorized = errorResponse(new AuthenticationError(), REQUEST_ID);
    expect(unauthorized.headers.get('WWW-Authenticate')).toBe('Bearer');
    const wrongMethod = errorResponse(new MethodNotAllowedError(['POST', 'GET']), REQUEST_ID);
    expect(wrongMethod.headers.get('Allow')).toBe('GET, POST');
  });

  test('a timeout tells the job; no field of it can take the place of the three', async () => {
    const error = new ProviderTimeoutError('not ready in time', {
      answerFields: { job_id: 'job-1', status_url: '/jobs/job-1', request_id: 'other' },
    });
    expect(await errorResponse(error, REQUEST_ID).json()).toEqual({
      error: 'not ready in time',
      code: 'PROVIDER_TIMEOUT',
      job_id: 'job-1',
      status_url: '/jobs/job-1',
      request_id: REQUEST_ID,
    });
  });

  test('errors of the lookup and of the Config Service keep their code and message', async () => {
    const lookup = errorResponse(
      new LookupError('NOT_FOUND', 'there is no instance x'),
      REQUEST_ID,
    );
    expect([lookup.status, await lookup.json()]).toEqual([
      404,
      { error: 'there is no instance x', code: 'NOT_FOUND', request_id: REQUEST_ID },
    ]);
    const unauthorized = errorResponse(new ApiError('AUTH_FAILED', 'send a key'), REQUEST_ID);
    expect([unauthorized.status, unauthorized.headers.get('WWW-Authenticate')]).toEqual([
      401,
      'Bearer',
    ]);
    const busy = Object.assign(new Error('busy'), {
      code: 'RATE_LIMITED',
      status: 429,
      retryable: true,
      retryAfterSeconds: 4,
    });
    expect(retryAfterOf(busy)).toBe('4');
    expect(toPlatformError(busy)).toMatchObject({ retryable: true, cause: busy });
  });

  test.each([
    ['an error', new Error('D1_ERROR: no such table: secret_things')],
    [
      'a code that is not ours',
      Object.assign(new Error('inside'), { code: 'ENOENT', status: 404 }),
    ],
    [
      'a status that does not go with the code',
      Object.assign(new Error('inside'), { code: 'NOT_FOUND', status: 200 }),
    ],
    [
      'a fault of another component',
      Object.assign(new Error('inside'), { code: 'INTERNAL_ERROR', status: 500 }),
    ],
    ['a string', 'inside'],
    ['undefined', undefined],
    ['an object', { code: 'NOT_FOUND', status: 404, message: 'inside' }],
  ])('%s becomes an INTERNAL_ERROR that tells nothing', async (_, thrown) => {
    const response = errorResponse(thrown, REQUEST_ID);
    expect([response.status, await response.json()]).toEqual([
      500,
      {
        error: 'something went wrong on our side',
        code: 'INTERNAL_ERROR',
        request_id: REQUEST_ID,
      },
    ]);
  });
});

describe('for the log', () => {
  test('name, message, code, marks, details and stack', () => {
    const error = new ProviderError('down', {
      retryable: true,
      retryAfterSeconds: 3,
      details: { provider: 'ideogram', provider_status: 503 },
    });
    expect(serializeError(error)).toEqual({
      name: 'ProviderError',
      message: 'down',
      code: 'PROVIDER_ERROR',
      status: 502,
      retryable: true,
      retryAfterSeconds: 3,
      details: { provider: 'ideogram', provider_status: 503 },
      stack: expect.stringContaining('errors.test.ts'),
    });
  });

  test('causes are followed, whatever they are', () => {
    const innermost = new TypeError('connection refused');
    const error = new Error('outer', { cause: new Error('inner', { cause: innermost }) });
    expect(serializeError(error)).toMatchObject({
      message: 'outer',
      cause: { message: 'inner', cause: { name: 'TypeError', message: 'connection refused' } },
    });
    expect(serializeError(new Error('outer', { cause: 'text' }))).toMatchObject({ cause: 'text' });
    expect(serializeError(new Error('outer', { cause: null }))).toMatchObject({ cause: null });
  });

  test('several at once', () => {
    const error = new AggregateError([new Error('one'), 'two'], 'both');
    expect(serializeError(error)).toMatchObject({ errors: [{ message: 'one' }, 'two'] });
  });

  test('cycles end, of causes and of details', () => {
    const error = new Error('snake');
    error.cause = new Error('tail', { cause: error });
    expect(serializeError(error)).toMatchObject({ cause: { cause: '[circular]' } });

    const details: Record<string, unknown> = { twice: { a: 1 } };
    details.itself = details;
    details.again = details.twice;
    expect(serializeError(new ProviderError('m', { details }))).toMatchObject({
      details: { itself: '[circular]', twice: { a: 1 }, again: { a: 1 } },
    });
  });

  test('depth, length and number are bounded', () => {
    let error = new Error('x'.repeat(10_000));
    for (let depth = 0; depth < 100; depth += 1) {
      error = new Error('x'.repeat(10_000), { cause: error });
    }
    const text = JSON.stringify(serializeError(error));
    expect(text).toContain('[too deep]');
    expect(text.length).toBeLessThan(50_000);
    const details = { list: Array.from({ length: 1000 }, (_, index) => index) };
    expect(serializeError(new ProviderError('m', { details }))).toMatchObject({
      details: { list: Array.from({ length: 30 }, (_, index) => index) },
    });
  });

  test('odd values are survived', () => {
    const details = {
      date: new Date(0),
      noDate: new Date(Number.NaN),
      big: 10n,
      notANumber: Number.NaN,
      call: () => 1,
      nothing: undefined,
      yes: true,
      get thrower(): string {
        throw new Error('do not read me');
      },
    };
    expect(serializeError(new ProviderError('m', { details })).details).toEqual({
      date: '1970-01-01T00:00:00.000Z',
      noDate: 'Invalid Date',
      big: '10',
      notANumber: 'NaN',
      call: expect.any(String),
      nothing: 'undefined',
      yes: true,
      thrower: '[unreadable]',
    });
  });

  test.each(['text', undefined, null, 42, { a: 1 }])(
    '%j, which is no error, is named',
    (thrown) => {
      expect(serializeError(thrown)).toMatchObject({
        name: 'NotAnError',
        message: expect.stringContaining(typeof thrown),
        value: thrown === undefined ? 'undefined' : thrown,
      });
    },
  );
});

test('a secret reaches neither answer nor log, wherever it stands', async () => {
  const planted = 'planted-secret-0123456789';
  const error = new ProviderError(`${PLATFORM_KEY} and ${planted}`, {
    details: {
      headers: { Authorization: 'Bearer abc', 'Api-Key': 'abcdef' },
      api_keys: { ideogram: 'abcdef' },
      text: `before ${planted} after`,
    },
    cause: new Error(`Bearer ${planted}`, { cause: new Error(planted) }),
  });
  // Cut in the middle, it would not be recognised any more.
  error.cause = new Error(`${'x'.repeat(1990)}${planted}`, { cause: error.cause });
  const logged = JSON.stringify(serializeError(error, [planted]));
  const answered = await errorResponse(error, REQUEST_ID, [planted]).text();
  for (const text of [logged, answered]) {
    expect(text).not.toContain('planted');
    expect(text).not.toContain('mas_0');
    expect(text).not.toContain('abc');
  }
});
