// The logger: what an entry looks like, which levels are stored, and how entries get to the buffer.
import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test';
import { env as workerEnv } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { LogBuffer } from '@/workers/shared/logging/log-buffer';
import { newLogId } from '@/workers/shared/logging/log-id';
import { createLogger, type LoggerOptions, logger } from '@/workers/shared/logging/logger';
import { bufferName, createSink } from '@/workers/shared/logging/sink';
import type { IdentifiedLogEntry } from '@/workers/shared/logging/types';
import {
  buffers,
  emptyLogs,
  entry,
  newInstanceId,
  REQUEST_ID,
  runAlarm,
  START_MS,
  storedRows,
} from './support';

const PLATFORM_KEY = 'mas_00000000000000000000000000000000000000000001yhBtb';

/** A logger whose entries a test reads; they go to the console's place, since there is no buffer. */
function setUp(options: Partial<LoggerOptions> = {}) {
  const entries: IdentifiedLogEntry[] = [];
  const log = createLogger({
    component: 'image-gen-worker',
    request_id: REQUEST_ID,
    instance_id: 'production',
    env: {},
    ctx: createExecutionContext(),
    now: () => START_MS,
    writeLine: (line) => entries.push(JSON.parse(line)),
    ...options,
  });
  return { log, entries };
}

/** The one entry that `write` leaves. */
async function written(
  write: (log: ReturnType<typeof createLogger>) => void,
  options: Partial<LoggerOptions> = {},
): Promise<IdentifiedLogEntry> {
  const { log, entries } = setUp(options);
  write(log);
  await log.flush();
  expect(entries).toHaveLength(1);
  return entries[0] ?? entry(0);
}

describe('an entry', () => {
  test('has the time, the level, the message, the context, and all else as metadata', async () => {
    expect(
      await written((log) => log.info('generation started', { provider: 'ideogram', attempt: 1 })),
    ).toEqual({
      log_id: expect.stringMatching(
        /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      ),
      timestamp: '2099-03-01T10:00:00.000Z',
      level: 'INFO',
      message: 'generation started',
      request_id: REQUEST_ID,
      instance_id: 'production',
      component: 'image-gen-worker',
      metadata: { provider: 'ideogram', attempt: 1 },
    });
  });

  test('without fields has no metadata', async () => {
    expect(await written((log) => log.warn('odd'))).not.toHaveProperty('metadata');
    expect(await written((log) => log.warn('odd', {}))).not.toHaveProperty('metadata');
  });

  test('takes ids among the fields into their columns', async () => {
    const found = await written((log) =>
      log.info('m', { request_id: 'r-1', instance_id: 'development', user_id: 'u-1', n: 1 }),
    );
    expect(found).toMatchObject({
      request_id: 'r-1',
      instance_id: 'development',
      user_id: 'u-1',
      metadata: { n: 1 },
    });
  });

  test('ids that are none leave the context as it is', async () => {
    const found = await written((log) =>
      log.info('m', { request_id: undefined, instance_id: null, user_id: 42 }),
    );
    expect(found).toMatchObject({
      request_id: REQUEST_ID,
      instance_id: 'production',
      metadata: { instance_id: null, user_id: 42 },
    });
    expect(found).not.toHaveProperty('user_id');
  });

  test('a component among the fields is a field, since the logger has one', async () => {
    const found = await written((log) => log.info('m', { component: 'other' }));
    expect(found).toMatchObject({
      component: 'image-gen-worker',
      metadata: { component: 'other' },
    });
  });

  test('of a child has more context; what the child is not given stays', async () => {
    const found = await written((log) =>
      log.child({ user_id: 'u-1', instance_id: undefined }).child({ request_id: 'r-2' }).info('m'),
    );
    expect(found).toMatchObject({ instance_id: 'production', user_id: 'u-1', request_id: 'r-2' });
  });

  test('of no request says so', async () => {
    const found = await written((log) => log.info('m'), { request_id: undefined });
    expect(found.request_id).toBe('00000000-0000-0000-0000-000000000000');
  });

  test('has an error as its name, message, code, stack and cause', async () => {
    const error = Object.assign(
      new TypeError('connection lost', { cause: new Error('reset by peer') }),
      { code: 'PROVIDER_ERROR' },
    );
    const { metadata } = await written((log) => log.error('failed', { error }));
    expect(metadata).toEqual({
      error: {
        name: 'TypeError',
        message: 'connection lost',
        code: 'PROVIDER_ERROR',
        stack: expect.stringContaining('logger.test.ts'),
        cause: { name: 'Error', message: 'reset by peer', stack: expect.any(String) },
      },
    });
  });

  test('entries of one millisecond sort in the order in which they were written', () => {
    const ids = Array.from({ length: 500 }, () => newLogId(START_MS));
    expect(ids.toSorted()).toEqual(ids);
    expect(new Set([...ids, newLogId(START_MS + 1)]).size).toBe(501);
    expect(newLogId(START_MS + 2) > newLogId(START_MS + 1)).toBe(true);
    expect(newLogId(-5)).toMatch(/^00000000-0000-7/);
  });
});

describe('levels', () => {
  async function levelsWith(options: Partial<LoggerOptions>): Promise<string[]> {
    const { log, entries } = setUp(options);
    log.debug('d');
    log.info('i');
    log.warn('w');
    log.error('e');
    await log.flush();
    return entries.map(({ level }) => level);
  }

  test.each([
    ['DEBUG', ['DEBUG', 'INFO', 'WARN', 'ERROR']],
    ['INFO', ['INFO', 'WARN', 'ERROR']],
    ['warn', ['WARN', 'ERROR']],
    [' Error ', ['ERROR']],
    ['nonsense', ['INFO', 'WARN', 'ERROR']],
    [undefined, ['INFO', 'WARN', 'ERROR']],
  ])('with LOG_LEVEL %j they are %j', async (LOG_LEVEL, expected) => {
    expect(await levelsWith({ env: { LOG_LEVEL } })).toEqual(expected);
  });

  test('that of the options comes first', async () => {
    expect(await levelsWith({ env: { LOG_LEVEL: 'DEBUG' }, level: 'ERROR' })).toEqual(['ERROR']);
  });
});

describe('it never throws', () => {
  const hostile: Record<string, unknown> = {
    get thrower(): string {
      throw new Error('no');
    },
    proxy: new Proxy(
      {},
      {
        ownKeys: () => {
          throw new Error('no');
        },
      },
    ),
  };

  test.each([
    ['fields that cannot be read', 'm', hostile],
    ['a message that is none', Symbol('m'), {}],
    ['fields that are none', 'm', null],
    ['fields that are a text', 'm', 'text'],
  ])('%s', async (_, message, fields) => {
    const { log, entries } = setUp();
    log.info(message as string, fields as Record<string, unknown>);
    await log.flush();
    expect(entries).toHaveLength(1);
  });

  test('a clock or a sink that fails', async () => {
    const { log, entries } = setUp({ now: () => Number.NaN });
    log.info('m');
    expect(await log.flush()).toBe(true);
    expect(entries).toEqual([]);
  });

  test('a request that is over', async () => {
    const ctx = {
      waitUntil: () => {
        throw new Error('the request is over');
      },
    };
    expect((await written((log) => log.info('m'), { ctx })).message).toBe('m');
  });
});

describe('secrets', () => {
  test('reach no entry, whichever way they come', async () => {
    const token = 'planted-service-token';
    const env = { SERVICE_TOKEN: token, LOG_LEVEL: 'DEBUG' };
    const found = await written(
      (log) =>
        log.child({ user_id: PLATFORM_KEY }).error(`key ${PLATFORM_KEY}, Bearer planted-bearer`, {
          Authorization: 'Bearer planted-a',
          api_key: 'planted-b',
          api_keys: { ideogram: 'planted-c' },
          nested: { list: [{ refresh_token: 'planted-d', password: 'planted-e' }] },
          headers: new Headers({ 'Api-Key': 'planted-f', Accept: 'text/plain' }),
          map: new Map([['secret', 'planted-g']]),
          text: `it is ${token}`,
          [PLATFORM_KEY]: 1,
          error: new Error(`Authorization: Basic planted-h`, { cause: `api_key=planted-i` }),
          request_id: `Bearer planted-j`,
          url: new URL('https://x.example/?token=planted-k'),
        }),
      { env },
    );
    const text = JSON.stringify(found);
    expect(text).not.toContain('planted');
    expect(text).not.toContain('mas_0');
    expect(found.metadata).toMatchObject({
      headers: { accept: 'text/plain' },
      text: 'it is [redacted]',
    });
  });
});

describe('handing over', () => {
  beforeEach(async () => {
    vi.useFakeTimers({ now: START_MS, toFake: ['Date'] });
    await emptyLogs();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const bufferOf = (instanceId: string) => buffers.get(buffers.idFromName(bufferName(instanceId)));

  /** Batches as they are sent to the buffer; the first of them may fail. */
  function recordingBuffers(failures = 0) {
    const batches: string[][] = [];
    let calls = 0;
    const namespace = {
      idFromName: (name: string) => name,
      get: () => ({
        append: (entries: IdentifiedLogEntry[]) => {
          calls += 1;
          if (calls <= failures) {
            return Promise.reject(new Error('object moved'));
          }
          batches.push(entries.map(({ message }) => message));
          return Promise.resolve({ accepted: entries.length, lost: 0 });
        },
      }),
    } as unknown as DurableObjectNamespace<LogBuffer>;
    return { namespace, batches, callCount: () => calls };
  }

  test('at the end of a request everything is with the buffer, and from there in D1', async () => {
    const instance_id = newInstanceId();
    const ctx = createExecutionContext();
    const log = createLogger({
      component: 'image-gen-worker',
      request_id: REQUEST_ID,
      instance_id,
      env: { LOG_BUFFER: buffers },
      ctx,
    });
    log.info('started', { provider: 'ideogram' });
    await Promise.resolve();
    log.child({ user_id: 'u-1' }).error('failed');
    // The answer leaves here, and with it the last that the isolate does by itself.
    await waitOnExecutionContext(ctx);

    vi.setSystemTime(START_MS + 10_000);
    await runAlarm(bufferOf(instance_id));
    const rows = await storedRows();
    expect(rows.map(({ log_id: _, ...row }) => row)).toEqual([
      {
        timestamp: '2099-03-01T10:00:00.000Z',
        level: 'INFO',
        message: 'started',
        request_id: REQUEST_ID,
        instance_id,
        user_id: null,
        component: 'image-gen-worker',
        metadata: '{"provider":"ideogram"}',
        created_at: '2099-03-01T10:00:10.000Z',
      },
      expect.objectContaining({
        message: 'failed',
        level: 'ERROR',
        user_id: 'u-1',
        metadata: '{}',
      }),
    ]);
  });

  test('what is logged in one go is one message to the buffer', async () => {
    const { namespace, batches } = recordingBuffers();
    const { log } = setUp({ env: { LOG_BUFFER: namespace } });
    log.info('1');
    log.info('2');
    log.child({}).info('3');
    expect(await log.flush()).toBe(true);
    log.info('4');
    expect(await log.flush()).toBe(true);
    expect(batches).toEqual([['1', '2', '3'], ['4']]);
    expect(await log.flush()).toBe(true);
  });

  test('more than a batch goes in several', async () => {
    const { namespace, batches } = recordingBuffers();
    const { log } = setUp({ env: { LOG_BUFFER: namespace } });
    for (let index = 0; index < 250; index += 1) {
      log.info(`${index}`);
    }
    await log.flush();
    expect(batches.map((batch) => batch.length)).toEqual([100, 100, 50]);
  });

  test('a handover that fails is tried again with the same ids', async () => {
    const { namespace, batches, callCount } = recordingBuffers(2);
    const { log, entries } = setUp({ env: { LOG_BUFFER: namespace } });
    log.info('m');
    expect(await log.flush()).toBe(true);
    expect([callCount(), batches, entries]).toEqual([3, [['m']], []]);
  });

  test('a buffer that cannot be reached leaves entries to the console, and says so', async () => {
    const { namespace } = recordingBuffers(3);
    const { log, entries } = setUp({ env: { LOG_BUFFER: namespace } });
    log.info('m');
    expect(await log.flush()).toBe(false);
    expect(entries.map(({ message }) => message)).toEqual(['the log buffer fails', 'm']);
  });

  test('a buffer that refuses makes the flush say so', async () => {
    const full = {
      idFromName: () => ({}),
      get: () => ({ append: () => Promise.resolve({ accepted: 0, lost: 1 }) }),
    } as unknown as DurableObjectNamespace<LogBuffer>;
    const { log } = setUp({ env: { LOG_BUFFER: full } });
    log.info('m');
    expect(await log.flush()).toBe(false);
  });

  test('without a buffer entries go to the console', async () => {
    const printed = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    const sink = createSink({}, createExecutionContext());
    sink.push(entry(1));
    expect(await sink.flush()).toBe(true);
    expect(printed).toHaveBeenCalledExactlyOnceWith(JSON.stringify(entry(1)));
    printed.mockRestore();
  });

  test('entries without an instance share a buffer', () => {
    expect([bufferName(undefined), bufferName('production')]).toEqual([
      'common',
      'instance:production',
    ]);
  });

  test('the plain logger takes all context from the fields, and finds the bindings itself', async () => {
    const append = vi.fn((entries: IdentifiedLogEntry[]) =>
      Promise.resolve({ accepted: entries.length, lost: 0 }),
    );
    const bound = vi.spyOn(workerEnv.LOG_BUFFER, 'get');
    bound.mockReturnValue({ append } as unknown as DurableObjectStub<undefined>);
    const instance_id = newInstanceId();
    logger.debug('not stored');
    logger.info('cleaned up', { component: 'janitor', request_id: 'r-1', instance_id, rows: 3 });
    logger.warn('odd');
    logger.child({ component: 'nightly' }).error('failed');
    expect(await logger.flush()).toBe(true);
    await vi.waitFor(() => expect(append).toHaveBeenCalledTimes(3));
    bound.mockRestore();
    expect(append.mock.calls.flatMap(([entries]) => entries)).toEqual([
      {
        log_id: expect.any(String),
        timestamp: expect.any(String),
        level: 'INFO',
        message: 'cleaned up',
        request_id: 'r-1',
        instance_id,
        component: 'janitor',
        metadata: { rows: 3 },
      },
      expect.objectContaining({ component: 'unknown', message: 'odd' }),
      expect.objectContaining({ component: 'nightly', message: 'failed' }),
    ]);
  });
});
