// The global error handler: whatever a Worker throws becomes one answer and one entry in the log.
import { createExecutionContext } from 'cloudflare:test';
import { describe, expect, test, vi } from 'vitest';
import {
  InternalError,
  ProviderError,
  RateLimitedError,
  ValidationError,
} from '@/workers/shared/error-handling/errors';
import {
  type ErrorHandlingOptions,
  type ErrorLogger,
  withErrorHandling,
} from '@/workers/shared/error-handling/middleware';
import { rememberingLogger } from './support';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const GIVEN_ID = '0b0f7a52-6a0e-4d0b-9a52-0d6f3c1f7a01';

type Env = Record<string, string>;
type Handler = Parameters<typeof withErrorHandling<Env>>[0];

async function send(
  handler: Handler,
  {
    env = {},
    init = {},
    ...options
  }: ErrorHandlingOptions<Env> & { env?: Env; init?: RequestInit } = {},
) {
  const { logger, lines } = rememberingLogger();
  const fetch = withErrorHandling<Env>(handler, { logger: () => logger, ...options });
  const request = new Request('https://worker.example.com/generate', init);
  const response = await fetch(request, env, createExecutionContext());
  return { response, lines };
}

function throwing(thrown: unknown): Handler {
  return () => Promise.reject(thrown);
}

describe('answers', () => {
  test('what the handler answers stays as it is', async () => {
    const answer = new Response('image', { status: 206 });
    const { response, lines } = await send(() => answer);
    expect(response).toBe(answer);
    expect(lines).toEqual([]);
  });

  test('an error becomes its answer, with the id of the request', async () => {
    const { response } = await send(
      throwing(new RateLimitedError('too many requests', { retryAfterSeconds: 7 })),
      { init: { headers: { 'X-Request-ID': GIVEN_ID.toUpperCase() } } },
    );
    expect(response.status).toBe(429);
    expect(response.headers.get('Retry-After')).toBe('7');
    expect(response.headers.get('X-Request-ID')).toBe(GIVEN_ID);
    expect(await response.json()).toEqual({
      error: 'too many requests',
      code: 'RATE_LIMITED',
      request_id: GIVEN_ID,
    });
  });

  test('without an id of the caller there is a new one, which the handler sees as well', async () => {
    let seen = '';
    const { response } = await send((_, __, ctx) => {
      seen = ctx.requestId;
      // A handler that throws before it has made a promise.
      throw new ValidationError('prompt: is missing');
    });
    const { request_id } = await response.json<{ request_id: string }>();
    expect(request_id).toMatch(UUID);
    expect(seen).toBe(request_id);
  });

  test('an id that the Worker takes from elsewhere comes before that of the header', async () => {
    const { response } = await send(throwing(new ValidationError('m')), {
      init: { headers: { 'X-Request-ID': crypto.randomUUID() } },
      requestId: () => GIVEN_ID,
    });
    expect(response.headers.get('X-Request-ID')).toBe(GIVEN_ID);
    expect(await response.json()).toMatchObject({ request_id: GIVEN_ID });
  });

  test.each([
    ['a string', 'inside'],
    ['undefined', undefined],
    ['an error with a cause', new Error('inside', { cause: new Error('inside') })],
  ])('%s becomes an INTERNAL_ERROR without its text', async (_, thrown) => {
    const { response } = await send(throwing(thrown));
    expect(response.status).toBe(500);
    const text = await response.text();
    expect(text).not.toContain('inside');
    expect(JSON.parse(text)).toMatchObject({ code: 'INTERNAL_ERROR' });
  });

  test('a HEAD has no body', async () => {
    const { response } = await send(throwing(new ValidationError('m')), {
      init: { method: 'HEAD' },
    });
    expect([response.status, response.body]).toEqual([400, null]);
  });

  test('the handler reaches the runtime’s context', async () => {
    const ctx = createExecutionContext();
    const waitUntil = vi.spyOn(ctx, 'waitUntil');
    const passThrough = vi.spyOn(ctx, 'passThroughOnException');
    const fetch = withErrorHandling<Env>((_, __, { waitUntil, passThroughOnException }) => {
      waitUntil(Promise.resolve());
      passThroughOnException();
      return new Response();
    });
    await fetch(new Request('https://worker.example.com'), {}, ctx);
    expect(waitUntil).toHaveBeenCalledOnce();
    expect(passThrough).toHaveBeenCalledOnce();
  });
});

describe('log', () => {
  test('a fault is one ERROR, with all that is known of it', async () => {
    const cause = new Error('D1_ERROR: no such table');
    const { response, lines } = await send(throwing(new InternalError({ cause })));
    const { request_id } = await response.json<{ request_id: string }>();
    expect(lines).toEqual([
      {
        level: 'error',
        message: 'something went wrong on our side',
        fields: {
          request_id,
          code: 'INTERNAL_ERROR',
          status: 500,
          error: expect.objectContaining({
            name: 'InternalError',
            stack: expect.stringContaining('middleware.test.ts'),
            cause: expect.objectContaining({ message: 'D1_ERROR: no such table' }),
          }),
        },
      },
    ]);
  });

  test('what the caller did is one WARN', async () => {
    const { lines } = await send(throwing(new ValidationError('prompt: is missing')));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      level: 'warn',
      message: 'prompt: is missing',
      fields: { code: 'VALIDATION_FAILED', status: 400 },
    });
  });

  test('what was thrown is in it, even if it is no error', async () => {
    const { lines } = await send(throwing('just text'));
    expect(lines[0]?.fields.error).toMatchObject({ name: 'NotAnError', value: 'just text' });
  });

  test('the logger is made for each request, with its id', async () => {
    const ids: string[] = [];
    await send(throwing(new ValidationError('m')), {
      init: { headers: { 'X-Request-ID': GIVEN_ID } },
      logger: (_, __, ctx) => {
        ids.push(ctx.requestId);
        return rememberingLogger().logger;
      },
    });
    expect(ids).toEqual([GIVEN_ID]);
  });

  test('without a logger it is one line of JSON', async () => {
    const lines: string[] = [];
    const fetch = withErrorHandling<Env>(throwing(new ProviderError('down')), {
      writeLine: (line) => lines.push(line),
    });
    await fetch(new Request('https://worker.example.com'), {}, createExecutionContext());
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      level: 'ERROR',
      message: 'down',
      code: 'PROVIDER_ERROR',
      request_id: expect.stringMatching(UUID),
    });
  });

  test('and goes to the console if nobody says otherwise', async () => {
    const written = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const fetch = withErrorHandling<Env>(throwing(new ValidationError('m')));
    await fetch(new Request('https://worker.example.com'), {}, createExecutionContext());
    expect(written).toHaveBeenCalledOnce();
    written.mockRestore();
  });

  test.each<[string, Partial<ErrorLogger>]>([
    [
      'throws',
      {
        error: () => {
          throw new Error('log is full');
        },
      },
    ],
    ['rejects', { error: () => Promise.reject(new Error('log is full')) }],
    ['is none', { error: undefined as unknown as ErrorLogger['error'] }],
  ])('a logger that %s changes no answer', async (_, broken) => {
    const { response } = await send(throwing(new ProviderError('down')), {
      logger: () => ({ ...rememberingLogger().logger, ...broken }),
    });
    expect(response.status).toBe(502);
  });

  test('a logger that cannot be made changes no answer', async () => {
    const { response } = await send(throwing(new ProviderError('down')), {
      logger: () => {
        throw new Error('no logger');
      },
    });
    expect(response.status).toBe(502);
  });
});

test('secrets of the Worker reach neither answer nor log', async () => {
  const env = {
    SERVICE_TOKEN: 'planted-service-token',
    CACHE_ENCRYPTION_KEY: 'planted-cache-key=',
  };
  const text = Object.values(env).join(' and ');
  const { response, lines } = await send(
    throwing(new ProviderError(text, { details: { text }, cause: new Error(text) })),
    { env },
  );
  expect(await response.text()).not.toContain('planted');
  expect(lines).toHaveLength(1);
  expect(JSON.stringify(lines)).not.toContain('planted');
});
