// The rules of single values, JSON as a form, and the service's messages at their fields.
import { describe, expect, it } from 'vitest';
import { formatCost, formatMilliseconds, formatShare } from '@/interfaces/admin-panel/src/format';
import { JsonProblem, withJson } from '@/interfaces/admin-panel/src/forms/config-json';
import {
  changeOf,
  draftOf,
  emptyDraft,
  problemsFromService,
  problemsOf,
} from '@/interfaces/admin-panel/src/forms/instance-draft';
import * as rules from '@/interfaces/admin-panel/src/forms/rules';
import { instanceOf } from './fixtures';

const LONG = (length: number) => 'x'.repeat(length);

describe('a value', () => {
  it.each([
    [
      rules.nameProblem,
      ['Production', ' ü ', LONG(100)],
      ['', '  ', LONG(101), 'a\u0007', '\ud800'],
    ],
    [rules.identifierProblem, ['a', '9-a', LONG(63)], ['', '-a', 'A', 'a_b', LONG(64)]],
    [rules.entryNameProblem, ['ideogram', 'image_gen-2'], ['', '_a', 'A', LONG(33)]],
    [rules.bucketProblem, ['abc', 'a-b-c'], ['', 'ab', '-abc', 'abc-', 'a_c', LONG(64)]],
    [rules.providerKeyProblem, ['k', LONG(512)], ['', 'a b', 'ü', '****abcd', LONG(513)]],
    [
      rules.emailProblem,
      ['a@b.c', ' Name@Example.com '],
      ['', 'a', 'a@b', 'a@b@c.d', 'a b@c.d', `${LONG(250)}@b.cd`],
    ],
    [
      rules.workerUrlProblem,
      ['https://a.example', 'http://127.0.0.1:8788', 'http://x.localhost', 'http://localhost'],
      [
        '',
        'a.example',
        'http://a.example',
        'ftp://a',
        'https://u:p@a.example',
        `https://${LONG(2050)}`,
      ],
    ],
  ])('%o takes what the contract takes, and nothing else', (problem, good, bad) => {
    expect(good.filter((text) => problem(text) !== undefined)).toEqual([]);
    expect(bad.filter((text) => problem(text) === undefined)).toEqual([]);
  });

  it('that is a number is whole, and within its bounds', () => {
    const bad = ['', '0', '-1', '1.5', '1e3', 'x', '101'].map((text) =>
      rules.wholeNumberProblem(text, 100),
    );
    expect(bad.every((problem) => problem !== undefined)).toBe(true);
    expect(rules.wholeNumberProblem('100', 100)).toBeUndefined();
  });
});

describe('a draft', () => {
  const production = instanceOf('production', 'Production', {
    api_keys: { ideogram: '****a1b2' },
    rate_limits: { ideogram: { tpm: 5, rpm: 1 } },
  });

  it('of what is there is no change, whatever the order of its fields', () => {
    expect(changeOf(production, draftOf(production))).toBeNull();
  });

  it('finds what is there twice, and too much of it', () => {
    const rows = Array.from({ length: 51 }, (_, id) => ({ id, name: 'a', mask: null, value: 'k' }));
    const problems = problemsOf({ ...emptyDraft('o'), name: 'N', keys: rows }, { isNew: true });
    expect(problems['api_keys.1.name']).toBe('This name is there twice.');
    expect(problems['api_keys.0.name']).toBeUndefined();
    expect(problems.api_keys).toBe('There may be 50 entries.');
  });

  it('takes JSON of the form of a configuration, and nothing else', () => {
    const draft = draftOf(production);
    expect(() => withJson(draft, '[]')).toThrow(JsonProblem);
    expect(() => withJson(draft, '{ "api_keys": ["k"] }')).toThrow(JsonProblem);
    expect(() => withJson(draft, '{ "rate_limits": { "a": { "rpm": "x" } } }')).toThrow(
      /rate_limits\.a\.rpm/,
    );
    expect(() => withJson(draft, '{ "surprise": 1 }')).toThrow(JsonProblem);
    const emptied = changeOf(production, withJson(draft, '{}'));
    expect(emptied).toEqual({
      config: { api_keys: { ideogram: null }, rate_limits: { ideogram: null } },
    });
  });

  it("gets the service's messages at the fields that they name", () => {
    const draft = draftOf(production);
    const [limit] = draft.limits;
    const message =
      'name: must be shorter; config.rate_limits.ideogram.rpm: too many; config.api_keys.ideogram: bad; no field';
    expect(problemsFromService(message, draft)).toEqual({
      name: 'must be shorter',
      [`rate_limits.${limit?.id}.rpm`]: 'too many',
      [`api_keys.${draft.keys[0]?.id}.value`]: 'bad',
    });
  });
});

describe('a number', () => {
  it('is shown as people read it', () => {
    expect([formatMilliseconds(null), formatMilliseconds(812.5), formatMilliseconds(3240)]).toEqual(
      ['–', '813 ms', '3.2 s'],
    );
    expect([formatShare(null), formatShare(0), formatShare(0.0123), formatShare(0.5)]).toEqual([
      '–',
      '0 %',
      '1.2 %',
      '50 %',
    ]);
    expect(formatCost(80_000)).toBe('$0.08');
  });
});
