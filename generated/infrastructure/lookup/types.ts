// What a lookup is given, what it finds, and how it fails.
import type { AuthContext } from '@/infrastructure/auth/types';

export interface RateLimit {
  /** Requests per minute. */
  rpm: number;
  /** Tokens per minute; absent where the provider counts none. */
  tpm?: number;
}

/** The configuration of an instance, provider keys in clear: never log it, never send it to a caller. */
export interface InstanceConfig {
  instance_id: string;
  org_id: string;
  name: string;
  api_keys: Record<string, string>;
  rate_limits: Record<string, RateLimit>;
  worker_urls: Record<string, string>;
  r2_bucket: string | null;
  authorized_users: string[];
}

/** Who asks, and what the request says about the instance that it means. */
export interface LookupContext {
  auth: AuthContext;
  /** From the header `X-Instance-ID` or the body. */
  instanceId?: string | null | undefined;
  /** From the body. */
  projectId?: string | null | undefined;
  /** Sent along to the Config Service, so that its log lines can be found. */
  requestId: string;
}

/** `service`: asked for just now. `cache`: at most five minutes old. `stale`: older, because the service is down. */
export type ConfigSource = 'service' | 'cache' | 'stale';

export interface ResolvedInstance extends InstanceConfig {
  source: ConfigSource;
  /** The project of the request, if it named one or its key belongs to one. */
  project_id: string | null;
}

/** What a lookup needs of a Worker's bindings. */
export interface LookupEnv {
  DB: D1Database;
  CONFIG_CACHE: KVNamespace;
  /** The service binding of the Config Service. */
  CONFIG_SERVICE: { fetch: (request: Request) => Promise<Response> };
  /** Secret, the same as the Config Service's. */
  SERVICE_TOKEN: string;
  /** Secret: 32 bytes in base64. Encrypts what is cached. */
  CACHE_ENCRYPTION_KEY: string;
}

const STATUS_OF_CODE = {
  VALIDATION_FAILED: 400,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  CONFIG_UNAVAILABLE: 503,
} as const;

export type LookupErrorCode = keyof typeof STATUS_OF_CODE;

/** A lookup that ends without a configuration, in a way that the caller is told about. */
export class LookupError extends Error {
  override readonly name = 'LookupError';
  readonly status: number;

  constructor(
    readonly code: LookupErrorCode,
    message: string,
    /** The instance, where there is one that is not for this caller: for the log. */
    readonly found?: Pick<ResolvedInstance, 'instance_id' | 'source'>,
  ) {
    super(message);
    this.status = STATUS_OF_CODE[code];
  }

  /** The answer of the specification, ready to be sent. */
  toResponse(requestId: string): Response {
    return Response.json(
      { error: this.message, code: this.code, request_id: requestId },
      {
        status: this.status,
        headers: {
          'Content-Type': 'application/json; charset=utf-8',
          'Cache-Control': 'no-store',
          'X-Content-Type-Options': 'nosniff',
          'X-Request-ID': requestId,
        },
      },
    );
  }
}
