// Reads the `Range` header of a request for one part of an image.

export type RangeRequest = 'whole' | 'unsatisfiable' | { offset: number; length: number };

/** What is malformed, or asks for several parts, is answered with the whole, as HTTP allows. */
export function parseRange(header: string, size: number): RangeRequest {
  const [, firstText, lastText] = /^bytes=(\d*)-(\d*)$/i.exec(header.trim()) ?? [];
  if (firstText === undefined || lastText === undefined || firstText + lastText === '') {
    return 'whole';
  }
  if (firstText === '') {
    const length = Math.min(Number(lastText), size);
    return length === 0 ? 'unsatisfiable' : { offset: size - length, length };
  }
  const first = Number(firstText);
  const last = lastText === '' ? size - 1 : Math.min(Number(lastText), size - 1);
  // Exact for bounds of any length, which beyond the image need not differ as numbers.
  if (lastText !== '' && BigInt(lastText) < BigInt(firstText)) {
    return 'whole';
  }
  return first >= size ? 'unsatisfiable' : { offset: first, length: last - first + 1 };
}
