// Reads how large an image is from the beginning of its file: PNG, JPEG and WebP. Whatever the bytes are, it gives an answer.

export type Reading =
  /** As in `1024x768`. */
  | { kind: 'known'; dimensions: string }
  /** It is said further on in the file. */
  | { kind: 'unfinished' }
  /** A file of another format, or a broken one. */
  | { kind: 'unknown' };

const UNFINISHED: Reading = { kind: 'unfinished' };
const UNKNOWN: Reading = { kind: 'unknown' };

/** So many bytes tell the format. */
const SIGNATURE_BYTES = 12;
/** So many tell the size of any image that is no JPEG. */
export const SHORT_HEAD_BYTES = 30;

function known(width: number, height: number): Reading {
  return width > 0 && height > 0 ? { kind: 'known', dimensions: `${width}x${height}` } : UNKNOWN;
}

const isText = (view: DataView, offset: number, text: string) =>
  [...text].every((character, index) => view.getUint8(offset + index) === character.charCodeAt(0));

/** Signature, then the chunk IHDR: its length, its name, width, height. */
function readPng(view: DataView): Reading {
  if (view.byteLength < 24) {
    return UNFINISHED;
  }
  return isText(view, 12, 'IHDR') ? known(view.getUint32(16), view.getUint32(20)) : UNKNOWN;
}

/** Markers that no length follows: TEM and the restart markers. */
const isAlone = (marker: number) => marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7);

/** The beginning of a frame, of whatever coding; C4, C8 and CC stand between them and are none. */
const isFrame = (marker: number) =>
  marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);

/** Only segments with a length may stand in front of the frame: not the scan, not the end. */
const isSegment = (marker: number) => marker >= 0xc0 && (marker < 0xd8 || marker > 0xda);

/** Segments one after another, each a marker and a length, until the one of the frame. */
function readJpeg(view: DataView): Reading {
  let offset = 2;
  while (offset + 4 <= view.byteLength) {
    const marker = view.getUint8(offset + 1);
    if (view.getUint8(offset) !== 0xff) {
      return UNKNOWN;
    }
    if (marker === 0xff) {
      // A marker may have any number of these before it.
      offset += 1;
    } else if (isAlone(marker)) {
      offset += 2;
    } else if (!isSegment(marker) || view.getUint16(offset + 2) < 2) {
      return UNKNOWN;
    } else if (!isFrame(marker)) {
      offset += 2 + view.getUint16(offset + 2);
    } else if (offset + 9 <= view.byteLength) {
      return known(view.getUint16(offset + 7), view.getUint16(offset + 5));
    } else {
      return UNFINISHED;
    }
  }
  return UNFINISHED;
}

/** RIFF with one of three first chunks; its content begins at 20. Numbers are little-endian. */
function readWebp(view: DataView): Reading {
  if (view.byteLength < 25) {
    return UNFINISHED;
  }
  if (isText(view, 12, 'VP8L') && view.getUint8(20) === 0x2f) {
    const bits = view.getUint32(21, true);
    return known((bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1);
  }
  if (view.byteLength < SHORT_HEAD_BYTES) {
    return UNFINISHED;
  }
  if (isText(view, 12, 'VP8X')) {
    // The size of the canvas less one, in 24 bits each.
    const upper = (offset: number) => view.getUint32(offset, true) >>> 8;
    return known(upper(23) + 1, upper(26) + 1);
  }
  if (isText(view, 12, 'VP8 ') && isText(view, 23, '\x9d\x01\x2a')) {
    // 14 bits each; the upper two are a scale for showing it.
    return known(view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff);
  }
  return UNKNOWN;
}

/** `head` is the file from its first byte on, as far as it is there. */
export function readDimensions(head: Uint8Array): Reading {
  if (head.byteLength < SIGNATURE_BYTES) {
    return UNFINISHED;
  }
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (isText(view, 0, '\x89PNG\r\n\x1a\n')) {
    return readPng(view);
  }
  if (isText(view, 0, '\xff\xd8\xff')) {
    return readJpeg(view);
  }
  return isText(view, 0, 'RIFF') && isText(view, 8, 'WEBP') ? readWebp(view) : UNKNOWN;
}
