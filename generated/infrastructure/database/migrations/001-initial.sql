-- Migration 001: the initial schema.
-- Apply with `wrangler d1 migrations apply DB`, which records it in the table d1_migrations and runs it once.
-- Never edit it after it has been applied anywhere: add a migration with the next number, and bring schema.sql up to date.
-- Tables come in the order in which they refer to each other; to undo, drop them in the reverse order.

-- Who pays. Everything else belongs to one organisation, directly or through its instance.
CREATE TABLE organizations (
  org_id TEXT PRIMARY KEY NOT NULL CHECK (length(org_id) BETWEEN 1 AND 63),
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  billing_email TEXT NOT NULL,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

-- A separate environment with its own provider keys, limits, workers and bucket.
-- config.api_keys holds provider keys encrypted with AES-GCM by the Config Service, which alone can read them.
-- version counts the writes; an update names the version that it has read, so that no concurrent edit is lost.
CREATE TABLE instances (
  instance_id TEXT PRIMARY KEY NOT NULL CHECK (length(instance_id) BETWEEN 1 AND 63),
  org_id TEXT NOT NULL REFERENCES organizations (org_id) ON DELETE RESTRICT,
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  config TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(config) AND json_type(config) = 'object'),
  version INTEGER NOT NULL DEFAULT 1 CHECK (version >= 1),
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

-- Serves the foreign key and the paged list of an organisation's instances.
CREATE INDEX instances_by_organization ON instances (org_id, created_at, instance_id);

CREATE TABLE users (
  user_id TEXT PRIMARY KEY NOT NULL CHECK (length(user_id) BETWEEN 1 AND 63),
  email TEXT NOT NULL COLLATE NOCASE UNIQUE,
  role TEXT NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin', 'superadmin')),
  org_id TEXT NOT NULL REFERENCES organizations (org_id) ON DELETE RESTRICT,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE INDEX users_by_organization ON users (org_id, created_at, user_id);

-- Which instances a user of role 'user' may use. Admins reach all of their organisation without a row here.
CREATE TABLE user_instance_access (
  user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
  instance_id TEXT NOT NULL REFERENCES instances (instance_id) ON DELETE CASCADE,
  granted_by TEXT REFERENCES users (user_id) ON DELETE SET NULL,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  PRIMARY KEY (user_id, instance_id)
) STRICT;

CREATE INDEX user_instance_access_by_instance ON user_instance_access (instance_id, created_at, user_id);
CREATE INDEX user_instance_access_by_granter ON user_instance_access (granted_by);

CREATE TABLE projects (
  project_id TEXT PRIMARY KEY NOT NULL CHECK (length(project_id) BETWEEN 1 AND 63),
  instance_id TEXT NOT NULL REFERENCES instances (instance_id) ON DELETE CASCADE,
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  settings TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(settings) AND json_type(settings) = 'object'),
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  UNIQUE (instance_id, name)
) STRICT;

CREATE INDEX projects_by_instance ON projects (instance_id, created_at, project_id);

-- Platform keys, each of one user or of one project. Only the SHA-256 of a key is stored: a copy of this table opens nothing.
-- A revoked key stays as a record.
CREATE TABLE api_keys (
  key_id TEXT PRIMARY KEY NOT NULL CHECK (length(key_id) BETWEEN 1 AND 63),
  user_id TEXT REFERENCES users (user_id) ON DELETE CASCADE,
  project_id TEXT REFERENCES projects (project_id) ON DELETE CASCADE,
  name TEXT NOT NULL DEFAULT '' CHECK (length(name) <= 100),
  key_hash TEXT NOT NULL UNIQUE CHECK (length(key_hash) = 64 AND key_hash NOT GLOB '*[^0-9a-f]*'),
  key_prefix TEXT NOT NULL CHECK (length(key_prefix) <= 12),
  created_by TEXT REFERENCES users (user_id) ON DELETE SET NULL,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  last_used_at TEXT,
  expires_at TEXT,
  revoked_at TEXT,
  CHECK ((user_id IS NULL) <> (project_id IS NULL))
) STRICT;

CREATE INDEX api_keys_by_user ON api_keys (user_id, created_at, key_id);
CREATE INDEX api_keys_by_project ON api_keys (project_id, created_at, key_id);
CREATE INDEX api_keys_by_creator ON api_keys (created_by);

-- What was used and what it cost, in micro-dollars (integers add up exactly). The organisation owes it even after the
-- instance, project or user is gone, so deleting those clears the reference and keeps the row.
CREATE TABLE usage_logs (
  log_id TEXT PRIMARY KEY NOT NULL CHECK (length(log_id) BETWEEN 1 AND 63),
  org_id TEXT NOT NULL REFERENCES organizations (org_id) ON DELETE RESTRICT,
  instance_id TEXT REFERENCES instances (instance_id) ON DELETE SET NULL,
  project_id TEXT REFERENCES projects (project_id) ON DELETE SET NULL,
  user_id TEXT REFERENCES users (user_id) ON DELETE SET NULL,
  request_id TEXT NOT NULL,
  timestamp TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT,
  tokens_used INTEGER NOT NULL DEFAULT 0 CHECK (tokens_used >= 0),
  cost INTEGER NOT NULL DEFAULT 0 CHECK (cost >= 0),
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE INDEX usage_logs_by_organization ON usage_logs (org_id, timestamp);
CREATE INDEX usage_logs_by_instance ON usage_logs (instance_id, timestamp);
CREATE INDEX usage_logs_by_project ON usage_logs (project_id);
CREATE INDEX usage_logs_by_user ON usage_logs (user_id);
