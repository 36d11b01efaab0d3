// Draws PNG files: a mirrored pattern in two colours, both of them decided by a seed. The same seed gives the same picture.

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const CELLS = 8;
/** What the format calls an indexed picture: each pixel is a number of a colour in the palette. */
const INDEXED_COLOR = 3;
/** Enough for two colours. */
const BITS_OF_PIXEL = 1;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) {
    value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  }
  return value >>> 0;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc = (CRC_TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(data.length + 8, crc32(bytes.subarray(4, data.length + 8)));
  return bytes;
}

/** Numbers from 0 up to 1 that look random and always are the same for a seed. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

function pattern(random: () => number): boolean[][] {
  return Array.from({ length: CELLS }, () => {
    const half = Array.from({ length: CELLS / 2 }, () => random() < 0.5);
    return [...half, ...half.toReversed()];
  });
}

export async function drawPng(seed: number, width: number, height: number): Promise<Uint8Array> {
  const random = seededRandom(seed);
  const palette = Uint8Array.from({ length: 6 }, (_, index) =>
    // A light ground and a darker figure, so that they differ whatever the seed is.
    Math.floor(random() * 100 + (index < 3 ? 156 : 20)),
  );
  const cells = pattern(random);
  // A line is the number of its filter, 0 for none, then one bit for each pixel. Lines within a row of cells are the same.
  const lineBytes = 1 + Math.ceil(width / 8);
  const lines = cells.map((row) => {
    const line = new Uint8Array(lineBytes);
    for (let x = 0; x < width; x += 1) {
      if (row[Math.floor((x * CELLS) / width)]) {
        line[1 + (x >> 3)] = (line[1 + (x >> 3)] ?? 0) | (0x80 >> (x & 7));
      }
    }
    return line;
  });
  const pixels = new Uint8Array(lineBytes * height);
  for (let y = 0; y < height; y += 1) {
    pixels.set(lines[Math.floor((y * CELLS) / height)] ?? [], lineBytes * y);
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([BITS_OF_PIXEL, INDEXED_COLOR, 0, 0, 0], 8);
  // The format's compression is zlib, which the platform calls "deflate".
  const compressed = new Response(pixels).body?.pipeThrough(new CompressionStream('deflate'));
  const data = new Uint8Array(await new Response(compressed).arrayBuffer());
  return Uint8Array.from([
    ...SIGNATURE,
    ...chunk('IHDR', header),
    ...chunk('PLTE', palette),
    ...chunk('IDAT', data),
    ...chunk('IEND', new Uint8Array()),
  ]);
}
