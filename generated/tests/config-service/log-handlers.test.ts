// GET /logs: who sees which entries, filters, order and pages.
import { beforeEach, describe, expect, test } from 'vitest';
import { fillLogs, type LogFixture, withoutLogs } from './log-support';
import { errorBody, IDS, startService, type TestService } from './support';

let service: TestService;

const at = (second: number) => new Date(Date.UTC(2026, 2, 1, 9, 0, second)).toISOString();

const LOGS: LogFixture[] = [
  {
    log_id: 'a',
    timestamp: at(1),
    message: 'Generation started',
    request_id: '0b0f7a52-6a0e-4d0b-9a52-0d6f3c1f7a01',
    user_id: IDS.developerId,
    metadata: { provider: 'ideogram' },
  },
  { log_id: 'b', timestamp: at(2), level: 'ERROR', message: '100% of_it failed', component: 'c-1' },
  {
    log_id: 'c',
    timestamp: at(3),
    level: 'WARN',
    instance_id: 'development',
    request_id: 'UPPER-1',
  },
  {
    log_id: 'd',
    timestamp: at(4),
    level: 'DEBUG',
    instance_id: null,
    message: 'ÄÖ of no instance',
  },
  { log_id: 'e', timestamp: at(5), instance_id: 'deleted-one' },
  { log_id: 'f', timestamp: at(6), level: 'ERROR', instance_id: IDS.otherInstanceId },
];

beforeEach(async () => {
  service = await startService();
  await fillLogs(LOGS);
});

const get = (caller: Parameters<TestService['call']>[0], query = '') =>
  service.call(caller, 'GET', `/logs${query}`);

async function idsOf(caller: Parameters<TestService['call']>[0], query = ''): Promise<string> {
  const { status, body } = await get(caller, query);
  expect(status).toBe(200);
  return body.items.map(({ log_id }) => log_id).join('');
}

describe('who', () => {
  test.each(['user', 'project', 'service'] as const)('%s may not', async (caller) => {
    const answer = await get(caller);
    expect([answer.status, answer.body]).toEqual([403, errorBody('FORBIDDEN')]);
  });

  test('nobody else either', async () => {
    expect((await get('nobody')).status).toBe(401);
    expect((await service.call('superadmin', 'POST', '/logs', { body: {} })).status).toBe(405);
  });

  test('a superadmin sees all, also those of no instance or of a deleted one', async () => {
    expect(await idsOf('superadmin')).toBe('fedcba');
  });

  test('an admin sees those of the instances of its organisation', async () => {
    expect(await idsOf('admin')).toBe('cba');
    expect(await idsOf('otherAdmin')).toBe('f');
  });

  test('of one instance: its own; others are 403, unknown ones 404', async () => {
    expect(await idsOf('admin', '?instance_id=production')).toBe('ba');
    expect(await idsOf('superadmin', `?instance_id=${IDS.otherInstanceId}`)).toBe('f');
    for (const [instanceId, status] of [
      [IDS.otherInstanceId, 403],
      ['deleted-one', 404],
      ['none', 404],
      ['', 404],
    ] as const) {
      expect((await get('admin', `?instance_id=${instanceId}`)).status).toBe(status);
    }
    expect((await get('superadmin', '?instance_id=deleted-one')).status).toBe(404);
  });
});

test('an item has all fields of an entry, and no other', async () => {
  const { body } = await get('admin', '?instance_id=production&search=started');
  expect(body).toEqual({
    items: [
      {
        log_id: 'a',
        timestamp: at(1),
        level: 'INFO',
        message: 'Generation started',
        request_id: '0b0f7a52-6a0e-4d0b-9a52-0d6f3c1f7a01',
        instance_id: 'production',
        user_id: IDS.developerId,
        component: 'image-gen-worker',
        metadata: { provider: 'ideogram' },
      },
    ],
    next_cursor: null,
    request_id: expect.any(String),
  });
  const { body: ofNone } = await get('superadmin', '?level=DEBUG');
  expect(ofNone.items).toMatchObject([{ instance_id: null, user_id: null, metadata: {} }]);
});

describe('filters', () => {
  test.each([
    ['level=ERROR', 'fb'],
    ['level=WARN,DEBUG', 'dc'],
    ['level=INFO,INFO', 'ea'],
    ['component=c-1', 'b'],
    ['component=c', ''],
    ['request_id=0B0F7A52-6A0E-4D0B-9A52-0D6F3C1F7A01', 'a'],
    ['request_id=upper-1', 'c'],
    ['request_id=upper', ''],
    [`user_id=${IDS.developerId}`, 'a'],
    [`from=${at(2)}&to=${at(4)}`, 'cb'],
    [`from=${at(5)}`, 'fe'],
    [`to=${at(2)}`, 'a'],
    [`from=${at(4)}&to=${at(2)}`, ''],
    ['search=GENERATION', 'a'],
    ['search=%25', 'b'],
    ['search=f_i', 'b'],
    ['search=_', 'b'],
    [`search=${'x'.repeat(200)}`, ''],
    ['search=%C3%84', 'd'],
    ['search=%C3%A4', ''],
    ["search='", ''],
    ['level=ERROR&search=of', 'b'],
    ['level=ERROR&instance_id=production', 'b'],
    ['unknown=1', 'fedcba'],
  ])('%s', async (query, expected) => {
    expect(await idsOf('superadmin', `?${query}`)).toBe(expected);
  });

  test('narrow what an admin sees, and never widen it', async () => {
    expect(await idsOf('admin', '?level=ERROR')).toBe('b');
    expect(await idsOf('admin', `?search=m&from=${at(2)}`)).toBe('c');
    expect(await idsOf('admin', '?level=DEBUG')).toBe('');
  });

  test.each([
    'level=FATAL',
    'level=error',
    'level=',
    'level=ERROR,',
    'from=2026-03-01',
    'to=yesterday',
    'from=2026-02-30T00:00:00.000Z',
    'search=',
    `search=${'x'.repeat(201)}`,
    'limit=0',
    'limit=101',
    'cursor=x',
    'cursor=WyJhIiwiYiJd',
  ])('%s is 400', async (query) => {
    const answer = await get('superadmin', `?${query}`);
    expect([answer.status, answer.body]).toEqual([400, errorBody('VALIDATION_FAILED')]);
    expect(service.lines).toEqual([]);
  });

  test('a wrong one is 400 before an unknown instance is 404', async () => {
    expect((await get('superadmin', '?level=x&instance_id=none')).status).toBe(400);
  });
});

describe('pages', () => {
  test.each(['superadmin', 'admin'] as const)(
    'for %s: without gaps or repeats, newest first, equal times in the order of ids',
    async (caller) => {
      const logs = Array.from({ length: 25 }, (_, index) => ({
        log_id: `log-${String(index).padStart(2, '0')}`,
        timestamp: at(Math.floor(index / 5)),
        instance_id: index % 2 === 0 ? 'production' : 'development',
      }));
      await fillLogs(logs);
      const seen: string[] = [];
      const sizes: number[] = [];
      let cursor = '';
      do {
        const { body } = await get(caller, `?limit=10${cursor}`);
        seen.push(...body.items.map(({ log_id }) => log_id));
        sizes.push(body.items.length);
        cursor = body.next_cursor === null ? '' : `&cursor=${body.next_cursor}`;
        // Whatever is written meanwhile is newer than what is still to come.
        const newer = { log_id: `new-${sizes.length}`, timestamp: at(50) };
        await fillLogs([...logs, newer]);
      } while (cursor !== '');
      expect(seen).toEqual(logs.map(({ log_id }) => log_id).toReversed());
      expect(sizes).toEqual([10, 10, 5]);
    },
  );

  test('the last page, though full, has no cursor', async () => {
    expect((await get('superadmin', '?limit=6')).body.next_cursor).toBeNull();
    expect((await get('superadmin', '?limit=5')).body.next_cursor).not.toBeNull();
  });

  test('a cursor goes with its filters: with others it is 400, with the same in another order it is not', async () => {
    const first = '?limit=1&level=ERROR,WARN';
    const { next_cursor } = (await get('superadmin', first)).body;
    expect(await idsOf('superadmin', `?level=WARN,ERROR&limit=2&cursor=${next_cursor}`)).toBe('cb');
    for (const query of ['', '&level=ERROR', '&level=ERROR,WARN&search=m']) {
      expect((await get('superadmin', `?cursor=${next_cursor}${query}`)).status).toBe(400);
    }
    // An admin's list is another one.
    expect((await get('admin', `${first}&cursor=${next_cursor}`)).status).toBe(400);
  });
});

test('before the migration it is a 500 without details', async () => {
  await withoutLogs(async () => {
    const answer = await get('superadmin');
    expect([answer.status, answer.body]).toEqual([500, errorBody('INTERNAL_ERROR')]);
    expect(answer.body.error).not.toContain('table');
  });
});
