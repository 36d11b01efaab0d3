// The buffer: when batches are written, and that each accepted entry is stored exactly once, whatever fails in between.
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { LogBuffer } from '@/workers/shared/logging/log-buffer';
import {
  alarmOf,
  buffers,
  countLogs,
  emptyLogs,
  entries,
  entry,
  newInstanceId,
  runAlarm,
  START_MS,
  storedRows,
  waitingIn,
  withoutTable,
} from './support';

let buffer: DurableObjectStub<LogBuffer>;
let complaints: Record<string, unknown>[];

beforeEach(async () => {
  vi.useFakeTimers({ now: START_MS, toFake: ['Date'] });
  await emptyLogs();
  buffer = buffers.get(buffers.idFromName(newInstanceId()));
  complaints = [];
  vi.spyOn(console, 'error').mockImplementation((line) => complaints.push(JSON.parse(line)));
});

afterEach(async () => {
  // No alarm may be left to ring in the middle of another test.
  await runInDurableObject(buffer, async (_, state) => await state.storage.deleteAlarm());
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** Waits for what the object does after its answer. */
async function settled(): Promise<void> {
  await runInDurableObject(buffer, async (instance) => {
    await Reflect.get(instance, 'flushing');
  });
}

describe('batches', () => {
  test('99 entries wait, the hundredth has all of them written', async () => {
    expect(await buffer.append(entries(0, 99))).toEqual({ accepted: 99, lost: 0 });
    await settled();
    expect([await countLogs(), await waitingIn(buffer)]).toEqual([0, 99]);

    await buffer.append([entry(99)]);
    await settled();
    expect([await countLogs(), await waitingIn(buffer)]).toEqual([100, 0]);
    expect(await alarmOf(buffer)).toBeNull();
  });

  test('what is beyond a hundred waits for the next batch', async () => {
    await buffer.append(entries(0, 250));
    await settled();
    expect([await countLogs(), await waitingIn(buffer)]).toEqual([200, 50]);
  });

  test('fewer are written ten seconds after the first of them came', async () => {
    await buffer.append([entry(0)]);
    vi.setSystemTime(START_MS + 4000);
    await buffer.append([entry(1)]);
    expect(await alarmOf(buffer)).toBe(START_MS + 10_000);

    vi.setSystemTime(START_MS + 9999);
    await runAlarm(buffer);
    expect([await countLogs(), await alarmOf(buffer)]).toEqual([0, START_MS + 10_000]);

    vi.setSystemTime(START_MS + 10_000);
    await runAlarm(buffer);
    expect([await countLogs(), await alarmOf(buffer)]).toEqual([2, null]);
  });

  test('after a full batch the ten seconds are those of what is left', async () => {
    await buffer.append([entry(0)]);
    vi.setSystemTime(START_MS + 6000);
    await buffer.append(entries(1, 102));
    await settled();
    expect(await waitingIn(buffer)).toBe(2);
    expect(await alarmOf(buffer)).toBe(START_MS + 16_000);
  });

  test('each batch is one D1 batch', async () => {
    const sizes: number[] = [];
    await runInDurableObject(buffer, async (_, state) => {
      const counting = {
        prepare: (sql: string) => env.DB.prepare(sql),
        batch: (statements: D1PreparedStatement[]) => {
          sizes.push(statements.length);
          return env.DB.batch(statements);
        },
      } as unknown as D1Database;
      const counted = new LogBuffer(state, { DB: counting });
      await counted.append(entries(0, 150));
      await Reflect.get(counted, 'flushing');
      vi.setSystemTime(START_MS + 10_000);
      await counted.alarm();
    });
    expect(sizes).toEqual([100, 50]);
  });
});

describe('exactly once', () => {
  test('an entry that is handed over twice is stored once, also if the first has been written', async () => {
    await buffer.append([entry(0), entry(0)]);
    await buffer.append(entries(0, 100));
    await settled();
    expect(await countLogs()).toBe(100);
    await buffer.append(entries(0, 100));
    await settled();
    expect([await countLogs(), await waitingIn(buffer)]).toEqual([100, 0]);
  });

  test('while D1 fails, entries are kept, and written when it is back', async () => {
    await withoutTable(async () => {
      await buffer.append(entries(0, 120));
      await settled();
      expect(await waitingIn(buffer)).toBe(120);
      expect(await alarmOf(buffer)).toBe(START_MS + 10_000);
    });
    expect(complaints).toEqual([
      expect.objectContaining({
        level: 'ERROR',
        message: 'log entries could not be written',
        metadata: expect.objectContaining({ kept: 120, failures: 1 }),
      }),
    ]);
    vi.setSystemTime(START_MS + 10_000);
    await runAlarm(buffer);
    expect([await countLogs(), await waitingIn(buffer)]).toEqual([120, 0]);
  });

  test('a D1 that goes on failing is asked less and less often, at least every five minutes', async () => {
    await withoutTable(async () => {
      await buffer.append([entry(0)]);
      const pauses: number[] = [];
      for (let attempt = 0; attempt < 8; attempt += 1) {
        const due = (await alarmOf(buffer)) ?? 0;
        vi.setSystemTime(due);
        await runAlarm(buffer);
        pauses.push(((await alarmOf(buffer)) ?? 0) - due);
      }
      expect(pauses.map((pause) => pause / 1000)).toEqual([10, 20, 40, 80, 160, 300, 300, 300]);
      // Full batches that come meanwhile do not ask it either.
      const before = complaints.length;
      await buffer.append(entries(1, 101));
      await settled();
      expect(complaints).toHaveLength(before);
    });
    vi.setSystemTime((await alarmOf(buffer)) ?? 0);
    await runAlarm(buffer);
    expect(await countLogs()).toBe(101);
    // And from then on at once again.
    await buffer.append(entries(101, 201));
    await settled();
    expect(await countLogs()).toBe(201);
  });

  test('a write that succeeds without its confirmation makes no doubles', async () => {
    await runInDurableObject(buffer, async (_, state) => {
      let isConfirmationLost = true;
      const forgetful = {
        prepare: (sql: string) => env.DB.prepare(sql),
        batch: async (statements: D1PreparedStatement[]) => {
          const result = await env.DB.batch(statements);
          if (isConfirmationLost) {
            isConfirmationLost = false;
            throw new Error('network connection lost');
          }
          return result;
        },
      } as unknown as D1Database;
      const unlucky = new LogBuffer(state, { DB: forgetful });
      await unlucky.append(entries(0, 100));
      await Reflect.get(unlucky, 'flushing');
      vi.setSystemTime(START_MS + 20_000);
      await unlucky.alarm();
    });
    expect(await countLogs()).toBe(100);
    expect(await waitingIn(buffer)).toBe(0);
  });

  test('a new object finds what the one before it had accepted, and its alarm', async () => {
    await buffer.append(entries(0, 5));
    await runInDurableObject(buffer, async (_, state) => {
      const reborn = new LogBuffer(state, env);
      expect(await state.storage.getAlarm()).toBe(START_MS + 10_000);
      vi.setSystemTime(START_MS + 10_000);
      await reborn.alarm();
    });
    expect(await countLogs()).toBe(5);
  });

  test('entries that come while a batch is being written are neither lost nor written twice', async () => {
    await Promise.all(
      Array.from({ length: 30 }, (_, index) => buffer.append(entries(index * 10, index * 10 + 10))),
    );
    await settled();
    expect([await countLogs(), await waitingIn(buffer)]).toEqual([300, 0]);
    const ids = (await storedRows()).map(({ log_id }) => log_id);
    expect(new Set(ids).size).toBe(300);
  });
});

describe('loss', () => {
  const lossOf = async () => {
    const row = (await storedRows()).find(({ component }) => component === 'log-buffer');
    return row === undefined ? null : { ...row, metadata: JSON.parse(row.metadata) };
  };

  test('beyond its bound it refuses, says so once, and stores how many it were', async () => {
    await runInDurableObject(buffer, async (_, state) => {
      const small = new LogBuffer(state, env, 200);
      await withoutTable(async () => {
        await small.append(entries(0, 199));
        await Reflect.get(small, 'flushing');
        expect(await small.append(entries(200, 203))).toEqual({ accepted: 1, lost: 2 });
        expect(await small.append(entries(203, 208))).toEqual({ accepted: 0, lost: 5 });
      });
      expect(complaints.map(({ message }) => message)).toEqual([
        'log entries could not be written',
        'log entries are being lost',
      ]);
      for (const seconds of [10, 20]) {
        vi.setSystemTime(START_MS + seconds * 1000);
        await small.alarm();
      }
    });
    expect(await countLogs()).toBe(201);
    expect(await lossOf()).toMatchObject({
      level: 'ERROR',
      message: 'log entries were lost',
      metadata: { lost: 7, since: '2099-03-01T10:00:00.000Z' },
    });
  });

  test('a loss is told once', async () => {
    await buffer.append([entry(0, { message: 'x'.repeat(70_000) }), ...entries(1, 101)]);
    await settled();
    for (const seconds of [10, 20]) {
      vi.setSystemTime(START_MS + seconds * 1000);
      await runAlarm(buffer);
    }
    await buffer.append(entries(200, 300));
    await settled();
    expect(await countLogs()).toBe(201);
    expect(await lossOf()).toMatchObject({ metadata: { lost: 1 } });
  });

  test('an entry that is far too large is refused', async () => {
    const huge = entry(0, { message: 'x'.repeat(70_000) });
    expect(await buffer.append([huge, entry(1)])).toEqual({ accepted: 1, lost: 1 });
  });

  test('an entry that the table refuses is counted, and holds up no other one', async () => {
    const wrong = entry(1, { level: 'FATAL' as 'ERROR' });
    await buffer.append([entry(0), wrong, ...entries(2, 100)]);
    await settled();
    vi.setSystemTime(START_MS + 10_000);
    await runAlarm(buffer);
    expect(await countLogs()).toBe(100);
    expect(await lossOf()).toMatchObject({ metadata: { lost: 1 } });
  });
});
