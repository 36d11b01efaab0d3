// What the panel's tests put into the fake service.
import type {
  Instance,
  LogEntry,
  Organization,
  Role,
  User,
} from '@/interfaces/admin-panel/src/api/types';

export const FAKE_ORIGIN = 'http://127.0.0.1:8787';
export const KEYS = {
  superadmin: 'mas_superadmin0000000000000000000000000000000000000',
  admin: 'mas_admin000000000000000000000000000000000000000000000',
  user: 'mas_user0000000000000000000000000000000000000000000000',
} as const;
/** What `POST /user/{user_id}/key` gives out. */
export const NEW_KEY = 'mas_generated00000000000000000000000000000000000000000';
export const NOW = '2026-03-01T10:00:00.000Z';
export const REQUEST_ID = '0b9d6f6e-3f0a-4b8e-9d53-6f2b8a1c7e10';

export const userOf = (id: string, email: string, role: Role, more: Partial<User> = {}): User => ({
  user_id: id,
  email,
  role,
  org_id: 'example-org',
  instances: [],
  created_at: NOW,
  updated_at: NOW,
  ...more,
});

export const instanceOf = (id: string, name: string, more: Partial<Instance> = {}): Instance => ({
  instance_id: id,
  org_id: 'example-org',
  name,
  api_keys: {},
  rate_limits: {},
  worker_urls: {},
  r2_bucket: null,
  authorized_users: [],
  created_at: NOW,
  updated_at: NOW,
  ...more,
});

export const logOf = (id: string, more: Partial<LogEntry> = {}): LogEntry => ({
  log_id: id,
  timestamp: NOW,
  level: 'INFO',
  message: 'request completed',
  request_id: REQUEST_ID,
  instance_id: 'production',
  user_id: 'developer',
  component: 'image-gen-worker',
  metadata: {},
  ...more,
});

export const organizationOf = (id: string, name: string): Organization => ({
  org_id: id,
  name,
  billing_email: `billing@${id}.example`,
  created_at: NOW,
  updated_at: NOW,
});
