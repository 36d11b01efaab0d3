// Fields become bounded JSON, whatever they are.
import { describe, expect, test } from 'vitest';
import { safeMetadata, safeText } from '@/workers/shared/logging/metadata';

describe('odd values', () => {
  test('become texts', () => {
    function named() {}
    expect(
      safeMetadata({
        big: 10n,
        notANumber: Number.NaN,
        infinite: Number.POSITIVE_INFINITY,
        symbol: Symbol('s'),
        named,
        date: new Date(0),
        noDate: new Date(Number.NaN),
        url: new URL('https://example.com/a'),
        bytes: new Uint8Array(3),
        buffer: new ArrayBuffer(4),
        map: new Map<unknown, unknown>([[1, 'one']]),
        set: new Set(['a']),
        nothing: undefined,
        empty: null,
        yes: true,
        noError: Object.create(null),
      }),
    ).toEqual({
      big: '10',
      notANumber: 'NaN',
      infinite: 'Infinity',
      symbol: 'Symbol(s)',
      named: '[function named]',
      date: '1970-01-01T00:00:00.000Z',
      noDate: 'Invalid Date',
      url: 'https://example.com/a',
      bytes: '[3 bytes]',
      buffer: '[4 bytes]',
      map: { '1': 'one' },
      set: ['a'],
      empty: null,
      yes: true,
      noError: {},
    });
  });

  test('what cannot be read is named', () => {
    const hostile = {
      get thrower(): string {
        throw new Error('no');
      },
    };
    expect(safeMetadata({ hostile, ok: 1 })).toEqual({
      hostile: { thrower: '[unreadable]' },
      ok: 1,
    });
    const revoked = Proxy.revocable({}, {});
    revoked.revoke();
    expect(safeMetadata({ revoked: revoked.proxy, ok: 1 })).toEqual({
      revoked: '[unreadable]',
      ok: 1,
    });
  });

  test('an error that is one of several, with its own fields', () => {
    const error = new AggregateError([new Error('one')], 'several');
    Object.assign(error, { status: 502, retryable: true, details: {} });
    expect(safeMetadata({ error })).toMatchObject({
      error: { message: 'several', status: 502, retryable: true, errors: [{ message: 'one' }] },
    });
    expect(safeMetadata({ error }).error).not.toHaveProperty('details');
  });
});

describe('bounds', () => {
  test('cycles end; what merely occurs twice is shown twice', () => {
    const cyclic: Record<string, unknown> = { name: 'c' };
    cyclic.itself = cyclic;
    const shared = { a: 1 };
    expect(safeMetadata({ cyclic, one: shared, two: shared })).toEqual({
      cyclic: { name: 'c', itself: '[circular]' },
      one: { a: 1 },
      two: { a: 1 },
    });
    const fields: Record<string, unknown> = {};
    fields.fields = fields;
    expect(safeMetadata(fields)).toEqual({ fields: '[circular]' });
  });

  test('depth', () => {
    let deep: unknown = 'bottom';
    for (let level = 0; level < 10_000; level += 1) {
      deep = { deep };
    }
    const text = JSON.stringify(safeMetadata({ deep }));
    expect(text).toContain('[too deep]');
    expect(text.length).toBeLessThan(200);
  });

  test('length of texts, number of entries', () => {
    const found = safeMetadata({
      long: 'x'.repeat(5000),
      list: Array.from({ length: 500 }, (_, index) => index),
    });
    expect(found.long).toBe(`${'x'.repeat(2000)}…`);
    expect(found.list).toHaveLength(50);
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`field${n}`, n]));
    expect(Object.keys(safeMetadata(many))).toHaveLength(50);
  });

  test('the whole', () => {
    const part = Object.fromEntries(
      Array.from({ length: 50 }, (_, n) => [`field${n}`, 'x'.repeat(3000)]),
    );
    const found = safeMetadata({ a: part, b: part, n: 1 });
    expect(JSON.stringify(found).length).toBeLessThan(30_000);
    expect(found.n).toBe('[left out]');
  });

  test('a secret that would be cut in two is taken out as a whole', () => {
    const key = 'mas_00000000000000000000000000000000000000000001yhBtb';
    const text = safeText(`${'x'.repeat(1990)} ${key}`, []);
    expect(text).not.toContain('mas_');
    expect(text.length).toBeLessThanOrEqual(2001);
  });
});
