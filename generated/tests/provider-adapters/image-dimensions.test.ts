// How large an image is, read from files that a browser has written, from parts of them, and from what is none.
import { describe, expect, test } from 'vitest';
import { readDimensions } from '@/workers/shared/provider-adapters/image-dimensions';
import { drawPng, seededRandom } from '@/workers/shared/provider-adapters/png';

const fromBase64 = (text: string) =>
  Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/** 300 x 7 pixels each. */
const FILES: [string, Uint8Array][] = [
  ['PNG', await drawPng(7, 300, 7)],
  [
    'JPEG',
    fromBase64(
      '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAFA3PEY8MlBGQUZaVVBfeMiCeG5uePWvuZHI////////////////////////////////////' +
        '////////////////2wBDAVVaWnhpeOuCguv/////////////////////////////////////////////////////////////////////' +
        '////wAARCAAHASwDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAL/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFgEBAQEAAAAA' +
        'AAAAAAAAAAAAAAID/8QAFBEBAAAAAAAAAAAAAAAAAAAAAP/aAAwDAQACEQMRAD8AgBsgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB' +
        '/9k=',
    ),
  ],
  [
    'WebP',
    fromBase64(
      'UklGRkYAAABXRUJQVlA4IDoAAACwAwCdASosAQcAP3G412S0ryunIagCkC4JaQAADHThw4cOHDhugAD+0Mr/rXn7kYAf0l0uLQAAAAAA',
    ),
  ],
  ['WebP without loss', fromBase64('UklGRh4AAABXRUJQVlA4TBEAAAAvK4EBAAdQs86Uuf+BiOh/AAA=')],
  [
    'WebP with transparency',
    fromBase64(
      'UklGRnIAAABXRUJQVlA4WAoAAAAQAAAAKwEABgAAQUxQSBAAAAABB1DAiAgACeH/ejGi/ykCVlA4IDwAAACwAwCdASosAQcAP3G412S0' +
        'ryunIagCkC4JaQAADHThw4cOHDhugAD+0Mr/rXn7kYAf0l0ts+g0oQAAAAA=',
    ),
  ],
];

const known = (dimensions: string) => ({ kind: 'known', dimensions });
const UNFINISHED = { kind: 'unfinished' };
const UNKNOWN = { kind: 'unknown' };

const of = (...parts: (string | number | readonly number[])[]) =>
  readDimensions(
    Uint8Array.from(
      parts.flatMap((part) =>
        typeof part === 'string' ? [...part].map((character) => character.charCodeAt(0)) : part,
      ),
    ),
  );

describe.each(FILES)('a %s', (_, file) => {
  test('says how large it is', () => {
    expect(readDimensions(file)).toEqual(known('300x7'));
  });

  test('is read wherever it lies in memory', () => {
    const memory = new Uint8Array(file.length + 40).fill(0xff);
    memory.set(file, 13);
    expect(readDimensions(memory.subarray(13, 13 + file.length))).toEqual(known('300x7'));
  });

  test('that is cut off anywhere is right, or not finished', () => {
    const lengths = Array.from({ length: file.length }, (_, length) => length);
    const readings = lengths.map((length) => readDimensions(file.subarray(0, length)));
    const firstKnown = readings.findIndex(({ kind }) => kind === 'known');
    expect(firstKnown).toBeGreaterThan(20);
    expect(readings.slice(0, firstKnown)).toEqual(Array(firstKnown).fill(UNFINISHED));
    expect(new Set(readings.slice(firstKnown).map((reading) => JSON.stringify(reading)))).toEqual(
      new Set([JSON.stringify(known('300x7'))]),
    );
  });

  test('with any byte changed gives an answer', () => {
    for (const [index, byte] of file.entries()) {
      for (const changed of [0, byte ^ 0x01, byte ^ 0x80, 0xff]) {
        expect(['known', 'unfinished', 'unknown']).toContain(
          readDimensions(file.with(index, changed)).kind,
        );
      }
    }
  });
});

test('bytes without a sense give an answer', () => {
  const random = seededRandom(1);
  for (let round = 0; round < 2_000; round += 1) {
    const noise = Uint8Array.from({ length: round % 200 }, () => Math.floor(random() * 256));
    const start = [[], [0xff, 0xd8, 0xff], [0x89, 0x50, 0x4e, 0x47]][round % 3] ?? [];
    noise.set(start.slice(0, noise.length));
    const reading = readDimensions(noise);
    expect(reading.kind === 'known' ? reading.dimensions : '1x1').toMatch(/^[1-9]\d*x[1-9]\d*$/);
  }
});

describe('what is no image of these formats', () => {
  const rest = Array<number>(40).fill(0);

  test.each([
    ['text', of('<!doctype html><html></html>')],
    ['a GIF', of('GIF89a', [44, 1, 7, 0], rest)],
    ['an AVIF', of([0, 0, 0, 32], 'ftypavif', rest)],
    ['a RIFF of sounds', of('RIFF', rest.slice(0, 4), 'WAVE', rest)],
    ['a WebP of an unknown kind', of('RIFF', rest.slice(0, 4), 'WEBPVP9 ', rest)],
    ['a WebP without its start code', of('RIFF', rest.slice(0, 4), 'WEBPVP8 ', rest)],
    ['a WebP without its signature', of('RIFF', rest.slice(0, 4), 'WEBPVP8L', rest)],
    ['a PNG without its header', of('\x89PNG\r\n\x1a\n', rest)],
    ['a PNG without an extent', of('\x89PNG\r\n\x1a\n', [0, 0, 0, 13], 'IHDR', rest)],
    ['a JPEG without a frame', of([0xff, 0xd8, 0xff, 0xda, 0, 8], rest)],
    ['a JPEG that is at its end', of([0xff, 0xd8, 0xff, 0xd9], rest)],
    ['a JPEG with a segment of no length', of([0xff, 0xd8, 0xff, 0xe0, 0, 1], rest)],
    ['a JPEG that goes on without a marker', of([0xff, 0xd8, 0xff, 0xe0, 0, 2], rest)],
  ])('%s is unknown', (_, reading) => {
    expect(reading).toEqual(UNKNOWN);
  });
});

describe('a JPEG', () => {
  const frame = (marker: number) => [0xff, marker, 0, 17, 8, 0x03, 0x00, 0x04, 0x00, 3];

  test.each([0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xcf])('may be coded as marker %i says', (marker) => {
    expect(of([0xff, 0xd8], frame(marker))).toEqual(known('1024x768'));
  });

  test.each([0xc4, 0xc8, 0xcc])('has no frame at marker %i', (marker) => {
    const table = [0xff, marker, 0, 5, 9, 9, 9];
    expect(of([0xff, 0xd8], table, frame(0xc0))).toEqual(known('1024x768'));
  });

  test('may fill up in front of a marker, and have markers that stand alone', () => {
    const between = [0xff, 0xff, 0xff, 0x01, 0xff, 0xd0];
    expect(of([0xff, 0xd8, 0xff], between, frame(0xc2))).toEqual(known('1024x768'));
  });

  test('may have much in front of its frame', () => {
    const segment = [0xff, 0xe2, 0xff, 0xff, ...Array<number>(0xffff - 2).fill(0xff)];
    const segments = Array.from({ length: 10 }, () => segment).flat();
    expect(of([0xff, 0xd8], segments)).toEqual(UNFINISHED);
    expect(of([0xff, 0xd8], segments, frame(0xc0))).toEqual(known('1024x768'));
  });

  test('that leaves its height to a later marker is unknown', () => {
    expect(of([0xff, 0xd8, 0xff, 0xc0, 0, 17, 8, 0, 0, 4, 0, 3])).toEqual(UNKNOWN);
  });
});

test('the smallest WebP is large enough', () => {
  expect(readDimensions(fromBase64('UklGRhIAAABXRUJQVlA4TAYAAAAvQWxvAGs='))).toMatchObject({
    kind: 'known',
  });
});
