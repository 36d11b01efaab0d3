// Keys and ciphertexts: their forms, and everything that must not work with them.
import { describe, expect, test } from 'vitest';
import {
  equalsInConstantTime,
  generateKey,
  hashKey,
  isWellFormedKey,
} from '@/infrastructure/config-service/security/credentials';
import { principalOf } from '@/infrastructure/config-service/security/policy';
import {
  decryptProviderKey,
  encryptProviderKey,
  readKeyRing,
} from '@/infrastructure/config-service/security/provider-keys';
import { ENCRYPTION_KEYS } from './support';

const EXAMPLE = `mas_${'0'.repeat(43)}1yhBtb`;

describe('platform keys', () => {
  test('the example of the specification is well formed', () => {
    expect(isWellFormedKey(EXAMPLE)).toBe(true);
  });

  test.each([
    ['one character changed', `mas_1${'0'.repeat(42)}1yhBtb`],
    ['two characters exchanged in the checksum', `mas_${'0'.repeat(43)}y1hBtb`],
    ['too short', EXAMPLE.slice(0, -1)],
    ['too long', `${EXAMPLE}0`],
    ['another start', EXAMPLE.replace('mas_', 'sam_')],
    ['a character outside of the alphabet', EXAMPLE.replace('0', '-')],
    ['a line break after it', `${EXAMPLE}\n`],
    ['nothing', ''],
  ])('%s is not', (_, text) => {
    expect(isWellFormedKey(text)).toBe(false);
  });

  test('a generated key is well formed, 53 characters long, and told by its hash and prefix', async () => {
    const { key, hash, prefix } = await generateKey();
    expect(key).toMatch(/^mas_[0-9A-Za-z]{49}$/);
    expect(isWellFormedKey(key)).toBe(true);
    expect(hash).toBe(await hashKey(key));
    expect(prefix).toBe(key.slice(0, 12));
  });

  test('generated keys differ and use the whole alphabet evenly', async () => {
    const keys = await Promise.all(Array.from({ length: 400 }, () => generateKey()));
    expect(new Set(keys.map(({ key }) => key)).size).toBe(400);
    const counts = new Map<string, number>();
    for (const character of keys.map(({ key }) => key.slice(4, 47)).join('')) {
      counts.set(character, (counts.get(character) ?? 0) + 1);
    }
    expect(counts.size).toBe(62);
    // 17,200 characters: 277 of each expected, with a standard deviation of 17; nine of those are allowed.
    for (const [character, count] of counts) {
      expect(Math.abs(count - 277), character).toBeLessThan(150);
    }
  });

  test('the hash is SHA-256 in lower-case hexadecimal', async () => {
    expect(await hashKey('abc')).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    );
  });

  test('comparison finds equal and different texts, whatever their lengths', async () => {
    expect(await equalsInConstantTime('same', 'same')).toBe(true);
    expect(await equalsInConstantTime('same', 'sane')).toBe(false);
    expect(await equalsInConstantTime('same', 'same but longer')).toBe(false);
    expect(await equalsInConstantTime('', '')).toBe(true);
  });

  test('a key without an owner is a damaged database, not a caller', () => {
    const holder = {
      key_id: 'k',
      key_hash: '',
      last_used_at: null,
      expires_at: null,
      revoked_at: null,
      user_id: null,
      email: null,
      role: 'user',
      org_id: 'o',
      project_id: null,
      instances: [],
    } as const;
    expect(() => principalOf({ ...holder, instances: [] })).toThrow('neither a user nor a project');
  });
});

describe('provider keys', () => {
  const place = { instanceId: 'production', provider: 'ideogram' };

  test('what is encrypted decrypts, and looks different each time', async () => {
    const ring = await readKeyRing(ENCRYPTION_KEYS);
    const first = await encryptProviderKey(ring, place, 'secret-of-ideogram');
    const second = await encryptProviderKey(ring, place, 'secret-of-ideogram');
    expect(first).toMatch(/^v1\.first\.[\w-]{16}\.[\w-]+$/);
    expect(first).not.toContain('secret');
    expect(first).not.toBe(second);
    expect(await decryptProviderKey(ring, place, first)).toBe('secret-of-ideogram');
  });

  test('after a rotation the old ciphertexts still decrypt, and new ones use the new key', async () => {
    const [first, second] = ENCRYPTION_KEYS.split(',');
    const old = await encryptProviderKey(await readKeyRing(first), place, 'secret');
    const rotated = await readKeyRing(`${second}, ${first}`);
    expect(await decryptProviderKey(rotated, place, old)).toBe('secret');
    expect(await encryptProviderKey(rotated, place, 'secret')).toMatch(/^v1\.second\./);
    await expect(decryptProviderKey(await readKeyRing(second), place, old)).rejects.toThrow(
      'does not hold',
    );
  });

  test.each([
    ['another instance', { ...place, instanceId: 'development' }],
    ['another provider', { ...place, provider: 'openai' }],
  ])('a ciphertext moved to %s does not decrypt', async (_, elsewhere) => {
    const ring = await readKeyRing(ENCRYPTION_KEYS);
    const stored = await encryptProviderKey(ring, place, 'secret');
    await expect(decryptProviderKey(ring, elsewhere, stored)).rejects.toThrow();
  });

  test('a ciphertext that was altered does not decrypt', async () => {
    const ring = await readKeyRing(ENCRYPTION_KEYS);
    const stored = await encryptProviderKey(ring, place, 'secret');
    const altered = stored.slice(0, -2) + (stored.at(-2) === 'A' ? 'B' : 'A') + stored.slice(-1);
    await expect(decryptProviderKey(ring, place, altered)).rejects.toThrow();
    await expect(decryptProviderKey(ring, place, 'plain text')).rejects.toThrow('damaged');
  });

  test.each([
    undefined,
    '',
    'first',
    'first:c2hvcnQ=',
    `${ENCRYPTION_KEYS},`,
    `${ENCRYPTION_KEYS},${ENCRYPTION_KEYS}`,
  ])('the secret %j is refused without being repeated', async (secret) => {
    await expect(readKeyRing(secret)).rejects.toThrow(
      /^the secret PROVIDER_KEY_ENCRYPTION_KEYS is missing or malformed$/,
    );
  });
});
