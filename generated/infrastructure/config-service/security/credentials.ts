// Platform keys: their form, their making, their hash; and comparison that takes the same time whatever the input.

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const KEY_START = 'mas_';
/** 43 characters of base 62 are 256 bits. */
const RANDOM_CHARACTERS = 43;
const CHECKSUM_CHARACTERS = 6;
const KEY_PATTERN = /^mas_[0-9A-Za-z]{49}$/;
export const KEY_PREFIX_CHARACTERS = 12;

export interface GeneratedKey {
  /** The key itself: shown once to its owner, stored nowhere. */
  key: string;
  hash: string;
  prefix: string;
}

const CRC32_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) {
    value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return value;
});

function crc32(text: string): number {
  let value = 0xffffffff;
  for (const byte of new TextEncoder().encode(text)) {
    value = (value >>> 8) ^ (CRC32_TABLE[(value ^ byte) & 0xff] ?? 0);
  }
  return (value ^ 0xffffffff) >>> 0;
}

function checksumOf(body: string): string {
  let rest = crc32(body);
  let text = '';
  for (let index = 0; index < CHECKSUM_CHARACTERS; index += 1) {
    text = ALPHABET.charAt(rest % ALPHABET.length) + text;
    rest = Math.floor(rest / ALPHABET.length);
  }
  return text;
}

function randomCharacters(count: number): string {
  // Bytes from 248 on are thrown away: 248 is the largest multiple of 62 in a byte, so every character is equally likely.
  const unbiasedBelow = 256 - (256 % ALPHABET.length);
  let text = '';
  while (text.length < count) {
    for (const byte of crypto.getRandomValues(new Uint8Array(count))) {
      if (byte < unbiasedBelow && text.length < count) {
        text += ALPHABET.charAt(byte % ALPHABET.length);
      }
    }
  }
  return text;
}

/** True if `text` has the form and checksum of a platform key. Whether it is one, the database knows. */
export function isWellFormedKey(text: string): boolean {
  if (!KEY_PATTERN.test(text)) {
    return false;
  }
  const bodyLength = KEY_START.length + RANDOM_CHARACTERS;
  return checksumOf(text.slice(0, bodyLength)) === text.slice(bodyLength);
}

async function sha256(text: string): Promise<ArrayBuffer> {
  return await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
}

/** SHA-256 in lower-case hexadecimal. A slow hash would add nothing: a key has 256 random bits. */
export async function hashKey(key: string): Promise<string> {
  return Array.from(new Uint8Array(await sha256(key)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}

export async function generateKey(): Promise<GeneratedKey> {
  const body = KEY_START + randomCharacters(RANDOM_CHARACTERS);
  const key = body + checksumOf(body);
  return { key, hash: await hashKey(key), prefix: key.slice(0, KEY_PREFIX_CHARACTERS) };
}

/** Compares digests instead of the texts, so that neither content nor length shows in the time it takes. */
export async function equalsInConstantTime(left: string, right: string): Promise<boolean> {
  const [leftDigest, rightDigest] = await Promise.all([sha256(left), sha256(right)]);
  return crypto.subtle.timingSafeEqual(leftDigest, rightDigest);
}
