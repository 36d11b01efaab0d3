// Calls the Cloudflare API: with the token, within a time limit, again after what may pass, and with errors that say what
// to do.
import type { Account } from './arguments';
import { CommandError } from './context';

const DEFAULT_BASE_URL = 'https://api.cloudflare.com/client/v4';
const TIME_LIMIT_MS = 30_000;
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;
const PAUSE_MAX_MS = 30_000;

/** What to do about an error, by Cloudflare's code. */
const ADVICE: Readonly<Record<number, string>> = {
  6003: 'The token is malformed: copy it again into CLOUDFLARE_API_TOKEN.',
  7003: 'Check CLOUDFLARE_ACCOUNT_ID.',
  9109: 'The token is not valid for this account: check CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID.',
  10000:
    'The token lacks a permission: it needs Workers Scripts, D1, Workers KV Storage and Workers R2 Storage, all to edit.',
  10007:
    'Open "Workers & Pages" in the dashboard once: that gives the account its workers.dev subdomain.',
  10008: 'The bucket holds objects: delete them first, or pass --delete-objects.',
  10042: 'R2 is not enabled for this account: enable it in the dashboard.',
};

const ADVICE_BY_STATUS: Readonly<Record<number, string>> = {
  401: 'Check CLOUDFLARE_API_TOKEN.',
  403: ADVICE[10000] ?? '',
  429: 'Too many calls: wait some minutes and run it again, it goes on where it stopped.',
};

export class CloudflareError extends CommandError {
  constructor(
    message: string,
    readonly status: number,
    readonly codes: readonly number[],
  ) {
    super(message);
  }
}

interface Envelope {
  success?: boolean;
  errors?: { code?: number; message?: string }[];
  result?: unknown;
  result_info?: { cursor?: string; is_truncated?: boolean; total_pages?: number };
}

export interface ApiAnswer {
  result: unknown;
  info: NonNullable<Envelope['result_info']>;
}

export interface CloudflareApi {
  /** `path` begins below the account. Rejects with a `CloudflareError`. */
  call: (
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    body?: object,
  ) => Promise<ApiAnswer>;
  /** Null if there is no such thing: 404. */
  find: (path: string) => Promise<ApiAnswer | null>;
}

export interface ApiOptions {
  account: Account;
  baseUrl?: string | undefined;
  pause: (milliseconds: number) => Promise<void>;
  timeLimitMs?: number;
}

function errorOf(what: string, status: number, envelope: Envelope): CloudflareError {
  const errors = envelope.errors ?? [];
  const codes = errors.flatMap(({ code }) => (code === undefined ? [] : [code]));
  const said = errors
    .map(
      ({ code, message }) =>
        `${message ?? 'no message'}${code === undefined ? '' : ` (code ${code})`}`,
    )
    .join('; ');
  const advice =
    codes.map((code) => ADVICE[code]).find((text) => text !== undefined) ??
    ADVICE_BY_STATUS[status] ??
    (status >= 500
      ? 'Cloudflare has a fault: run it again later, it goes on where it stopped.'
      : '');
  const text = `Cloudflare answered ${status} to ${what}: ${said === '' ? 'no reason given' : said}. ${advice}`;
  return new CloudflareError(text.trim(), status, codes);
}

function pauseBefore(attempt: number, retryAfter: string | null): number {
  const asked = Number(retryAfter);
  const wanted =
    Number.isFinite(asked) && asked > 0 ? asked * 1_000 : FIRST_PAUSE_MS * 2 ** (attempt - 1);
  return Math.min(wanted, PAUSE_MAX_MS);
}

async function readEnvelope(response: Response): Promise<Envelope> {
  const text = await response.text();
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === 'object' && body !== null ? body : {};
  } catch {
    return {};
  }
}

export function createCloudflareApi({
  account,
  baseUrl = DEFAULT_BASE_URL,
  pause,
  timeLimitMs = TIME_LIMIT_MS,
}: ApiOptions): CloudflareApi {
  const call: CloudflareApi['call'] = async (method, path, body) => {
    const what = `${method} ${path}`;
    for (let attempt = 1; ; attempt += 1) {
      let response: Response;
      let envelope: Envelope;
      try {
        response = await fetch(`${baseUrl}/accounts/${account.id}${path}`, {
          method,
          headers: {
            Authorization: `Bearer ${account.token}`,
            ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
          },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          signal: AbortSignal.timeout(timeLimitMs),
        });
        envelope = await readEnvelope(response);
      } catch (error) {
        if (attempt < ATTEMPTS) {
          await pause(pauseBefore(attempt, null));
          continue;
        }
        const reason =
          error instanceof Error && error.name === 'TimeoutError'
            ? `no answer within ${timeLimitMs / 1_000} s`
            : 'no connection';
        throw new CloudflareError(
          `Cloudflare could not be reached for ${what}: ${reason}. Check the network and run it again.`,
          0,
          [],
        );
      }
      if (response.ok && envelope.success === true) {
        return { result: envelope.result, info: envelope.result_info ?? {} };
      }
      const mayPass = response.status === 429 || response.status >= 500;
      if (!mayPass || attempt >= ATTEMPTS) {
        throw errorOf(what, response.status, envelope);
      }
      await pause(pauseBefore(attempt, response.headers.get('Retry-After')));
    }
  };
  return {
    call,
    async find(path) {
      try {
        return await call('GET', path);
      } catch (error) {
        if (error instanceof CloudflareError && error.status === 404) {
          return null;
        }
        throw error;
      }
    },
  };
}
