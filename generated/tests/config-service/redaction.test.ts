// Secrets are taken out of texts: by form, by name, by value; and nothing else is.
import { describe, expect, test } from 'vitest';
import {
  isSensitiveName,
  redactText,
  secretsOfEnv,
} from '@/infrastructure/config-service/security/redaction';

const PLATFORM_KEY = 'mas_00000000000000000000000000000000000000000001yhBtb';

describe('secrets in texts', () => {
  test.each([
    [`the key ${PLATFORM_KEY} is unknown`, 'the key [redacted] is unknown'],
    [`key=${PLATFORM_KEY}x`, 'key=[redacted]'],
    ['Authorization: Bearer abc.def-123', 'Authorization: Bearer [redacted]'],
    ['{"authorization":"Bearer abc"}', '{"authorization":"Bearer [redacted]"}'],
    ['Authorization: Basic YTpi', 'Authorization: [redacted]'],
    ['{"Api-Key":"abc","n":1}', '{"Api-Key":"[redacted]","n":1}'],
    ['https://x.example/?api_key=abc&n=1', 'https://x.example/?api_key=[redacted]&n=1'],
    ['SERVICE_TOKEN=abc def', 'SERVICE_TOKEN=[redacted] def'],
    ["password: 'abc'", "password: '[redacted]'"],
    ['postgres://user:pass@host/db', 'postgres://[redacted]@host/db'],
  ])('%s → %s', (text, expected) => {
    expect(redactText(text)).toBe(expected);
    expect(redactText(expected)).toBe(expected);
  });

  test.each([
    'send an API key as Authorization: Bearer <key>',
    'Unexpected token } in JSON',
    'the prompt has 100 tokens, at most 50 are allowed',
    'there is no instance production',
  ])('%s stays as it is', (text) => {
    expect(redactText(text)).toBe(text);
  });

  test('values are taken out wherever they stand', () => {
    expect(redactText('a planted-value b', ['planted-value'])).toBe('a [redacted] b');
  });

  test('what a Worker is bound to under a telling name is a secret, alone and in lists', () => {
    const secrets = secretsOfEnv({
      SERVICE_TOKEN: 'service-token-0123456789',
      PROVIDER_KEY_ENCRYPTION_KEYS: 'k1:AAECAwQFBgc=, k2:CAkKCwwNDg8=',
      CACHE_ENCRYPTION_KEY: 'EBESExQVFhc=',
      OTHER_SECRET: 'short',
      LOG_LEVEL: 'debug-but-long-enough',
      DB: { API_KEY: 'not looked into' },
    });
    expect(secrets).toEqual(
      expect.arrayContaining([
        'service-token-0123456789',
        'AAECAwQFBgc=',
        'CAkKCwwNDg8=',
        'EBESExQVFhc=',
      ]),
    );
    expect(secrets.join()).not.toMatch(/debug|short|looked/);
    expect([secretsOfEnv(null), secretsOfEnv('x')]).toEqual([[], []]);
  });

  test('names of fields whose values are secrets', () => {
    for (const name of [
      'Authorization',
      'api_key',
      'apiKeys',
      'SERVICE_TOKEN',
      'accessToken',
      'clientSecret',
      'password',
      'cookie',
    ]) {
      expect(isSensitiveName(name), name).toBe(true);
    }
    for (const name of [
      'key_id',
      'key_prefix',
      'tokens_used',
      'max_tokens',
      'provider',
      'monkey',
    ]) {
      expect(isSensitiveName(name), name).toBe(false);
    }
  });
});
