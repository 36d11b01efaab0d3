// What the Config Service sends and takes, as the contract describes it.

export type Role = 'user' | 'admin' | 'superadmin';

export interface Page<Item> {
  items: Item[];
  next_cursor: string | null;
}

export interface Me {
  user_id: string | null;
  email: string | null;
  role: Role;
  org_id: string;
  project_id: string | null;
  instances: string[];
  permissions: string[];
  key_id: string;
}

export interface Organization {
  org_id: string;
  name: string;
  billing_email: string;
  created_at: string;
  updated_at: string;
}

export interface RateLimit {
  rpm: number;
  tpm?: number;
}

export interface Instance {
  instance_id: string;
  org_id: string;
  name: string;
  /** Masks: the panel never sees a provider's key. */
  api_keys: Record<string, string>;
  rate_limits: Record<string, RateLimit>;
  worker_urls: Record<string, string>;
  r2_bucket: string | null;
  authorized_users: string[];
  created_at: string;
  updated_at: string;
}

export interface InstanceConfig {
  api_keys?: Record<string, string>;
  rate_limits?: Record<string, RateLimit>;
  worker_urls?: Record<string, string>;
  r2_bucket?: string | null;
}

export interface NewInstance {
  instance_id?: string;
  org_id: string;
  name: string;
  config?: InstanceConfig;
}

/** Merged by the service: what is not named stays, null removes an entry. */
export interface ConfigChange {
  api_keys?: Record<string, string | null>;
  rate_limits?: Record<string, RateLimit | null>;
  worker_urls?: Record<string, string | null>;
  r2_bucket?: string | null;
}

export interface InstanceChange {
  name?: string;
  config?: ConfigChange;
}

export interface Access {
  instance_id: string;
  user_id: string;
  email: string;
  role: Role;
  granted_by: string | null;
  created_at: string;
}

export interface User {
  user_id: string;
  email: string;
  role: Role;
  org_id: string;
  instances: string[];
  created_at: string;
  updated_at: string;
}

export interface NewUser {
  email: string;
  org_id: string;
  role: Role;
}

export interface UserChange {
  email?: string;
  role?: Role;
}

export interface Project {
  project_id: string;
  instance_id: string;
  name: string;
}

export interface ApiKey {
  key_id: string;
  user_id: string | null;
  project_id: string | null;
  name: string;
  key_prefix: string;
  created_by: string | null;
  created_at: string;
  last_used_at: string | null;
  expires_at: string | null;
  revoked_at: string | null;
}

export interface NewApiKey {
  name?: string;
  expires_at?: string;
}

/** The only answer that holds a key. */
export type CreatedApiKey = ApiKey & { key: string };

export const LOG_LEVELS = ['DEBUG', 'INFO', 'WARN', 'ERROR'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogEntry {
  log_id: string;
  timestamp: string;
  level: LogLevel;
  message: string;
  request_id: string;
  instance_id: string | null;
  user_id: string | null;
  component: string;
  metadata: Record<string, unknown>;
}

export interface LogQuery {
  instance_id?: string;
  level?: string;
  component?: string;
  request_id?: string;
  user_id?: string;
  from?: string;
  to?: string;
  search?: string;
  limit?: number;
  cursor?: string;
}

export const METRIC_RANGES = ['hour', 'day', 'week'] as const;
export type MetricRange = (typeof METRIC_RANGES)[number];

export interface MetricSeries {
  instance_id: string;
  requests: number[];
  errors: number[];
  rate_limited: number[];
  response_ms: (number | null)[];
}

export interface Metrics {
  range: MetricRange;
  from: string;
  to: string;
  bucket_seconds: number;
  series: MetricSeries[];
  totals: {
    requests: number;
    errors: number;
    rate_limited: number;
    error_rate: number | null;
    response_ms: number | null;
    cost_microdollars: number;
  };
  providers: { provider: string; requests: number; tokens: number; cost_microdollars: number }[];
}
