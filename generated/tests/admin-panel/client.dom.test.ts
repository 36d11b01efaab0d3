// The typed client: what it sends, and what it makes of every kind of answer. And the configuration it begins from.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ApiClient, type Fetch } from '@/interfaces/admin-panel/src/api/client';
import { type ApiFailure, asFailure, headlineOf } from '@/interfaces/admin-panel/src/api/failure';
import { loadConfiguration } from '@/interfaces/admin-panel/src/configuration';

const KEY = 'mas_key';

const clientOf = (fetch: Fetch, onUnauthorized?: () => void) =>
  new ApiClient({
    baseUrl: 'http://127.0.0.1:8787/',
    key: KEY,
    fetch,
    timeoutMilliseconds: 1000,
    ...(onUnauthorized === undefined ? {} : { onUnauthorized }),
  });

const answering = (body: string, status = 200): Fetch => {
  return () =>
    Promise.resolve(new Response(body, { status, headers: { 'X-Request-ID': 'from-header' } }));
};

async function failureOf(work: Promise<unknown>): Promise<ApiFailure> {
  return asFailure(
    await work.then(
      () => new Error('it did not fail'),
      (error: unknown) => error,
    ),
  );
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a call', () => {
  it('sends the key in the header, and ids encoded into the path', async () => {
    const sent: [string, RequestInit][] = [];
    const client = clientOf((input, init) => {
      sent.push([input, init]);
      return Promise.resolve(Response.json({}));
    });
    await client.giveAccess('a/b', 'c?d');
    await client.logs({ search: 'a&b', level: '' });
    expect(sent.map(([address]) => address)).toEqual([
      'http://127.0.0.1:8787/instance/a%2Fb/access/c%3Fd',
      'http://127.0.0.1:8787/logs?search=a%26b',
    ]);
    expect(sent[0]?.[1].headers).toEqual({ Authorization: 'Bearer mas_key' });
    expect(sent[0]?.[1].body).toBeNull();
  });

  it('fails with the code, the message and the request id of the service', async () => {
    const body = { error: 'not you', code: 'FORBIDDEN', request_id: 'from-body' };
    const failure = await failureOf(clientOf(answering(JSON.stringify(body), 403)).me());
    expect(failure).toMatchObject({ kind: 'refused', status: 403, code: 'FORBIDDEN' });
    expect([failure.message, failure.requestId]).toEqual(['not you', 'from-body']);
  });

  it.each(['<html>', '[]', 'null', '"text"'])('does not take %s for an answer', async (body) => {
    const failure = await failureOf(clientOf(answering(body, 502)).me());
    expect(failure).toMatchObject({ kind: 'unexpected', status: 502, requestId: 'from-header' });
  });

  it('fails for a refusal without code and message as well', async () => {
    const failure = await failureOf(clientOf(answering('{}', 418)).me());
    expect(failure).toMatchObject({ code: 'UNKNOWN', requestId: 'from-header' });
    expect(headlineOf(failure)).toBe('The request failed');
  });

  it('gives up when the time is over', async () => {
    const client = clientOf(
      (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal?.addEventListener('abort', () => reject(new DOMException('', 'AbortError')));
        }),
    );
    const failed = failureOf(client.me());
    await vi.advanceTimersByTimeAsync(1000);
    expect((await failed).kind).toBe('timeout');
    expect(headlineOf(await failed)).toBe('The Config Service took too long');
  });

  it('that its caller gave up is no failure of the service', async () => {
    const controller = new AbortController();
    const given = new DOMException('given up', 'AbortError');
    const client = clientOf(
      (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal?.addEventListener('abort', () => reject(given));
        }),
    );
    const call = client.me(controller.signal);
    controller.abort();
    await expect(call).rejects.toBe(given);
  });

  it('without a connection says so', async () => {
    const failure = await failureOf(clientOf(() => Promise.reject(new TypeError('no'))).me());
    expect(failure).toMatchObject({ kind: 'unreachable', status: null });
  });

  it('that is refused with 401 tells the session', async () => {
    const told = vi.fn();
    const body = JSON.stringify({ error: 'no', code: 'AUTH_FAILED', request_id: 'x' });
    await failureOf(clientOf(answering(body, 401), told).me());
    await failureOf(clientOf(answering(body, 403), told).me());
    expect(told).toHaveBeenCalledTimes(1);
  });
});

describe('all pages of a list', () => {
  it('are gathered', async () => {
    const client = clientOf((input) => {
      const cursor = new URL(input).searchParams.get('cursor');
      return Promise.resolve(
        Response.json({
          items: [cursor ?? 'first'],
          next_cursor: cursor === null ? 'second' : null,
        }),
      );
    });
    expect(await client.all((query) => client.users(query))).toEqual(['first', 'second']);
  });

  it('end, even if the service repeats itself', async () => {
    const client = clientOf(answering(''));
    const list = vi.fn(() => Promise.resolve({ items: [1], next_cursor: 'again' }));
    expect(await client.all(list)).toHaveLength(20);
  });
});

describe('the configuration', () => {
  it('is read from the root of the site', async () => {
    const load = vi.fn(answering('{"config_service_url":"https://config.example.com","more":1}'));
    expect(await loadConfiguration(load)).toEqual({
      configServiceUrl: 'https://config.example.com',
    });
    expect(load.mock.calls[0]?.[0]).toBe('/config.json');
  });

  it.each([
    [answering('<!doctype html>'), 'missing'],
    [answering('', 500), 'status 500'],
    [answering('{}'), 'config_service_url'],
    [answering('null'), 'config_service_url'],
    [answering('{"config_service_url":"javascript:alert(1)"}'), 'config_service_url'],
  ])('that is no good is said (%#)', async (load, message) => {
    await expect(loadConfiguration(load)).rejects.toThrow(message);
  });
});
