// What the contract demands of single values, checked before anything is sent. Each returns what is wrong, or nothing.

const IDENTIFIER = /^[a-z0-9][a-z0-9-]{0,62}$/;
const ENTRY_NAME = /^[a-z0-9][a-z0-9_-]{0,31}$/;
const BUCKET = /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/;
const PROVIDER_KEY = /^[!-~]{1,512}$/;
const CONTROL_OR_LONE_SURROGATE = /[\p{Cc}\p{Cs}]/u;
const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]+$/;
export const MASK = '****';
const EMAIL_MAX = 254;
const NAME_MAX = 100;
const URL_MAX = 2048;
export const RPM_MAX = 1_000_000;
export const TPM_MAX = 1_000_000_000;

export type Problem = string | undefined;

export function nameProblem(text: string): Problem {
  const name = text.trim();
  if (name === '') {
    return 'Enter a name.';
  }
  if (name.length > NAME_MAX) {
    return `A name may have ${NAME_MAX} characters.`;
  }
  return CONTROL_OR_LONE_SURROGATE.test(name) ? 'A name holds no control characters.' : undefined;
}

export function identifierProblem(text: string): Problem {
  return IDENTIFIER.test(text)
    ? undefined
    : 'Use up to 63 lower-case letters, digits and hyphens, not a hyphen first.';
}

export function entryNameProblem(text: string): Problem {
  if (text === '') {
    return 'Enter a name.';
  }
  return ENTRY_NAME.test(text)
    ? undefined
    : 'Use up to 32 lower-case letters, digits, _ and -, beginning with a letter or digit.';
}

export function bucketProblem(text: string): Problem {
  return BUCKET.test(text)
    ? undefined
    : 'Use 3 to 63 lower-case letters, digits and hyphens, with no hyphen at the ends.';
}

export function providerKeyProblem(text: string): Problem {
  if (text === '') {
    return 'Enter the key.';
  }
  if (text.startsWith(MASK)) {
    return 'This is a mask, not a key.';
  }
  return PROVIDER_KEY.test(text)
    ? undefined
    : 'A key has up to 512 characters: ASCII, without spaces.';
}

export function emailProblem(text: string): Problem {
  const email = text.trim();
  if (email === '') {
    return 'Enter an e-mail address.';
  }
  return EMAIL.test(email) && email.length <= EMAIL_MAX
    ? undefined
    : 'This is not an e-mail address, such as name@example.com.';
}

export function wholeNumberProblem(text: string, max: number): Problem {
  return /^\d{1,10}$/.test(text) && Number(text) >= 1 && Number(text) <= max
    ? undefined
    : `Enter a whole number from 1 to ${max.toLocaleString('en-GB')}.`;
}

export function workerUrlProblem(text: string): Problem {
  if (!URL.canParse(text) || text.length > URL_MAX) {
    return 'Enter an address, such as https://images.example.com.';
  }
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') {
    return 'An address holds no user name or password.';
  }
  const isLocal = /^(localhost|127\.0\.0\.1|.+\.localhost)$/.test(url.hostname);
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLocal)
    ? undefined
    : 'The address must begin with https://.';
}
