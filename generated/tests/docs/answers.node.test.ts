// The comparison that the tests of examples stand on: it must notice what differs.
import { describe, expect, it } from 'vitest';
import { differences, missingLines } from './answers';
import { anchorsOf, blocksOf, examplesOf } from './pages';

const UUID = '4b8d7f6e-0d5a-4c39-9a63-2f1b7c9d8e05';

describe('an answer', () => {
  it('is the one that is shown, with other values where they are marked', () => {
    const shown = { id: '<uuid>', at: '<time>', path: 'a/<number>_<text>.png', list: [{ n: 1 }] };
    const actual = {
      id: UUID,
      at: '2026-01-31T09:30:00.000Z',
      path: 'a/12_x.png',
      list: [{ n: 1 }],
    };
    expect(differences(shown, actual)).toEqual([]);
  });

  it('of an error has its code, in whatever words', () => {
    const shown = { error: 'no such instance', code: 'NOT_FOUND' };
    expect(differences(shown, { error: 'there is none', code: 'NOT_FOUND' })).toEqual([]);
    expect(differences(shown, { error: '', code: 'CONFLICT' })).toHaveLength(2);
  });

  it.each([
    [{ a: 1 }, { a: 2 }, 'answer.a: 2 instead of 1'],
    [{ a: 1 }, { a: 1, b: 2 }, 'answer.b is not shown'],
    [{ a: 1, b: 2 }, { a: 1 }, 'answer.b is missing'],
    [{ a: '<uuid>' }, { a: 'x' }, 'answer.a: "x" is not <uuid>'],
    [{ a: '<number>' }, { a: {} }, 'answer.a: {} is not <number>'],
    [{ a: 'x/<number>' }, { a: 'x/y' }, 'answer.a: "x/y" is not x/<number>'],
    [{ a: [] }, { a: {} }, 'answer.a: {} is of another kind'],
    [[1], [1, 2], 'answer.1 is not shown'],
    [{ a: '<surprise>' }, { a: 'x' }, 'answer.a: "x" is not <surprise>'],
  ])('that differs is noticed: %j %j', (shown, actual, difference) => {
    expect(differences(shown, actual)).toEqual([difference]);
  });

  it('in lines has those that are shown, in their order', () => {
    const actual = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "a"\r\n';
    expect(missingLines('HTTP/1.1 200 OK\nETag: "<text>"', actual)).toEqual([]);
    expect(missingLines('ETag: "<text>"\nContent-Length: <number>', actual)).toEqual([
      'Content-Length: <number>',
    ]);
  });
});

describe('a page', () => {
  it('gives its examples with what it says of them', () => {
    const text = [
      '```sh\ncurl a\n```\n\nAnswer, 200:\n\n```json\n{}\n```',
      'Needs a Cloudflare account:\n\n```sh\ncurl b\n```',
      '```sh\nnpm test\n```',
      '```sh\ncurl c\n```\n\nAnswer, 201.\n\n```json\n{ "of": "nothing" }\n```',
      '```sh\ncurl d\n```',
    ].join('\n\n');
    const page = { path: 'docs/x.md', text, blocks: [] };
    const examples = examplesOf({ ...page, blocks: blocksOf(text) });
    expect(examples.map(({ command, status }) => [command, status])).toEqual([
      ['curl a', 200],
      ['curl b', null],
      ['curl c', 201],
      ['curl d', null],
    ]);
    expect(examples.map(({ answer }) => answer?.text)).toEqual([
      '{}',
      undefined,
      undefined,
      undefined,
    ]);
    expect(examples.map(({ isRemote }) => isRemote)).toEqual([false, true, false, false]);
  });

  it('has anchors as GitHub makes them', () => {
    expect(anchorsOf('# A title\n\n```sh\n# no title\n```\n\n## On `your` machine, now')).toEqual([
      'a-title',
      'on-your-machine-now',
    ]);
  });
});
