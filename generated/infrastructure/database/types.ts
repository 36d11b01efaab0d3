// The rows of the database as the queries return them: JSON columns parsed, aggregates as arrays.

export type JsonValue =
  | string
  | number
  | boolean
  | null
  | JsonValue[]
  | { [key: string]: JsonValue };
export type JsonObject = { [key: string]: JsonValue };

export const ROLES = ['user', 'admin', 'superadmin'] as const;
export type Role = (typeof ROLES)[number];

/** UTC, ISO 8601 with milliseconds and `Z`, so that the order of the text is the order of time. */
export type Timestamp = string;

export interface Organization {
  org_id: string;
  name: string;
  billing_email: string;
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface Instance {
  instance_id: string;
  org_id: string;
  name: string;
  config: JsonObject;
  version: number;
  /** Ids of the users that have been given access, sorted. */
  authorized_users: string[];
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface User {
  user_id: string;
  email: string;
  role: Role;
  org_id: string;
  /** Ids of the instances that the user has been given access to, sorted. */
  instances: string[];
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface InstanceAccess {
  instance_id: string;
  user_id: string;
  email: string;
  role: Role;
  granted_by: string | null;
  created_at: Timestamp;
}

export interface Project {
  project_id: string;
  instance_id: string;
  /** The organisation of the project's instance. */
  org_id: string;
  name: string;
  settings: JsonObject;
  created_at: Timestamp;
  updated_at: Timestamp;
}

/** A platform key without the key: its hash never leaves the queries that compare it. */
export interface ApiKey {
  key_id: string;
  user_id: string | null;
  project_id: string | null;
  name: string;
  key_prefix: string;
  created_by: string | null;
  created_at: Timestamp;
  last_used_at: Timestamp | null;
  expires_at: Timestamp | null;
  revoked_at: Timestamp | null;
}

/** Whom a key stands for, read in one query when a request is authenticated. */
export interface KeyHolder {
  key_id: string;
  key_hash: string;
  last_used_at: Timestamp | null;
  expires_at: Timestamp | null;
  revoked_at: Timestamp | null;
  /** Null for the key of a project, as is the email. */
  user_id: string | null;
  email: string | null;
  role: Role;
  org_id: string;
  project_id: string | null;
  /** Ids of the instances within reach, sorted: those given to a user, all of an admin's organisation, the one of a project. */
  instances: string[];
}

export interface UsageLog {
  log_id: string;
  org_id: string;
  instance_id: string | null;
  project_id: string | null;
  user_id: string | null;
  request_id: string;
  timestamp: Timestamp;
  provider: string;
  model: string | null;
  tokens_used: number;
  /** Micro-dollars. */
  cost: number;
  created_at: Timestamp;
}
