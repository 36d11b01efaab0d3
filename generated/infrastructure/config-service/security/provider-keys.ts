// Encrypts provider keys for storage. AES-256-GCM; the place where a key belongs is authenticated with it, so that a
// ciphertext copied to another instance or provider does not decrypt.

const STORED_FORM = /^v1\.([a-z0-9-]{1,32})\.([\w-]{16})\.([\w-]+)$/;
const KEY_ENTRY = /^([a-z0-9-]{1,32}):([A-Za-z0-9+/]{43}=)$/;
const IV_BYTES = 12;

/** The keys of the secret binding: the first encrypts, all of them decrypt. */
export interface KeyRing {
  activeId: string;
  keys: ReadonlyMap<string, CryptoKey>;
}

export interface KeyPlace {
  instanceId: string;
  provider: string;
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let index = 0; index < bytes.length; index += 1) {
    bytes[index] = characters.charCodeAt(index);
  }
  return bytes;
}

function toBase64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}

function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  return fromBase64(text.replaceAll('-', '+').replaceAll('_', '/'));
}

function additionalData({ instanceId, provider }: KeyPlace): Uint8Array {
  return new TextEncoder().encode(`${instanceId}/${provider}`);
}

/** Reads `<key id>:<32 bytes in base64>`, comma-separated. The error repeats nothing of the secret. */
export async function readKeyRing(secret: string | undefined): Promise<KeyRing> {
  const keys = new Map<string, CryptoKey>();
  let activeId: string | null = null;
  for (const entry of (secret ?? '').split(',')) {
    const [, id, encoded] = KEY_ENTRY.exec(entry.trim()) ?? [];
    if (id === undefined || encoded === undefined || keys.has(id)) {
      throw new Error('the secret PROVIDER_KEY_ENCRYPTION_KEYS is missing or malformed');
    }
    activeId ??= id;
    keys.set(
      id,
      await crypto.subtle.importKey('raw', fromBase64(encoded), 'AES-GCM', false, [
        'encrypt',
        'decrypt',
      ]),
    );
  }
  if (activeId === null) {
    throw new Error('the secret PROVIDER_KEY_ENCRYPTION_KEYS is missing or malformed');
  }
  return { activeId, keys };
}

function keyOf(ring: KeyRing, id: string): CryptoKey {
  const key = ring.keys.get(id);
  if (key === undefined) {
    throw new Error(`a provider key is encrypted with ${id}, which the key ring does not hold`);
  }
  return key;
}

export async function encryptProviderKey(
  ring: KeyRing,
  place: KeyPlace,
  providerKey: string,
): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const ciphertext = await crypto.subtle.encrypt(
    { name: 'AES-GCM', iv, additionalData: additionalData(place) },
    keyOf(ring, ring.activeId),
    new TextEncoder().encode(providerKey),
  );
  return `v1.${ring.activeId}.${toBase64Url(iv)}.${toBase64Url(new Uint8Array(ciphertext))}`;
}

/** Rejects if the stored form is damaged, moved from another place, or encrypted with an unknown key. */
export async function decryptProviderKey(
  ring: KeyRing,
  place: KeyPlace,
  stored: string,
): Promise<string> {
  const [, keyId, iv, ciphertext] = STORED_FORM.exec(stored) ?? [];
  if (keyId === undefined || iv === undefined || ciphertext === undefined) {
    throw new Error('a stored provider key is damaged');
  }
  const plain = await crypto.subtle.decrypt(
    { name: 'AES-GCM', iv: fromBase64Url(iv), additionalData: additionalData(place) },
    keyOf(ring, keyId),
    fromBase64Url(ciphertext),
  );
  return new TextDecoder().decode(plain);
}
