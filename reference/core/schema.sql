-- The reference's tables, after architecture.md sections 2 and 9. Runs on SQLite and on D1; every statement may be run again.

CREATE TABLE IF NOT EXISTS organizations (
  org_id TEXT PRIMARY KEY NOT NULL CHECK (length(org_id) BETWEEN 1 AND 63),
  name TEXT NOT NULL,
  billing_email TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
);

-- `config` holds provider keys encrypted. `version` counts writes: an update states the version that it read.
CREATE TABLE IF NOT EXISTS instances (
  instance_id TEXT PRIMARY KEY NOT NULL CHECK (length(instance_id) BETWEEN 1 AND 63),
  org_id TEXT NOT NULL REFERENCES organizations (org_id),
  name TEXT NOT NULL,
  config TEXT NOT NULL CHECK (json_valid(config) AND json_type(config) = 'object'),
  version INTEGER NOT NULL DEFAULT 1 CHECK (version >= 1),
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS instances_org_id ON instances (org_id);

-- Emails are stored in lower case.
CREATE TABLE IF NOT EXISTS users (
  user_id TEXT PRIMARY KEY NOT NULL CHECK (length(user_id) BETWEEN 1 AND 63),
  email TEXT NOT NULL UNIQUE COLLATE NOCASE,
  role TEXT NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin', 'superadmin')),
  org_id TEXT NOT NULL REFERENCES organizations (org_id),
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS users_org_id ON users (org_id);

CREATE TABLE IF NOT EXISTS user_instance_access (
  user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
  instance_id TEXT NOT NULL REFERENCES instances (instance_id) ON DELETE CASCADE,
  granted_by TEXT REFERENCES users (user_id) ON DELETE SET NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (user_id, instance_id)
);
CREATE INDEX IF NOT EXISTS user_instance_access_instance_id ON user_instance_access (instance_id);
CREATE INDEX IF NOT EXISTS user_instance_access_granted_by ON user_instance_access (granted_by);

CREATE TABLE IF NOT EXISTS projects (
  project_id TEXT PRIMARY KEY NOT NULL CHECK (length(project_id) BETWEEN 1 AND 63),
  instance_id TEXT NOT NULL REFERENCES instances (instance_id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  settings TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(settings) AND json_type(settings) = 'object'),
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  UNIQUE (instance_id, name)
);

-- The key itself is stored nowhere. Exactly one owner.
CREATE TABLE IF NOT EXISTS api_keys (
  key_id TEXT PRIMARY KEY NOT NULL,
  user_id TEXT REFERENCES users (user_id) ON DELETE CASCADE,
  project_id TEXT REFERENCES projects (project_id) ON DELETE CASCADE,
  key_hash TEXT NOT NULL UNIQUE CHECK (length(key_hash) = 64),
  key_prefix TEXT NOT NULL,
  name TEXT NOT NULL DEFAULT '',
  created_by TEXT REFERENCES users (user_id) ON DELETE SET NULL,
  created_at TEXT NOT NULL,
  last_used_at TEXT,
  expires_at TEXT,
  revoked_at TEXT,
  CHECK ((user_id IS NULL) <> (project_id IS NULL))
);
CREATE INDEX IF NOT EXISTS api_keys_user_id ON api_keys (user_id);
CREATE INDEX IF NOT EXISTS api_keys_project_id ON api_keys (project_id);
CREATE INDEX IF NOT EXISTS api_keys_created_by ON api_keys (created_by);

-- Usage outlives what caused it: the organisation pays for it. `cost` counts micro-dollars.
CREATE TABLE IF NOT EXISTS usage_logs (
  log_id TEXT PRIMARY KEY NOT NULL,
  org_id TEXT NOT NULL REFERENCES organizations (org_id),
  instance_id TEXT REFERENCES instances (instance_id) ON DELETE SET NULL,
  project_id TEXT REFERENCES projects (project_id) ON DELETE SET NULL,
  user_id TEXT REFERENCES users (user_id) ON DELETE SET NULL,
  request_id TEXT NOT NULL,
  timestamp TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT,
  tokens_used INTEGER NOT NULL DEFAULT 0 CHECK (tokens_used >= 0),
  cost INTEGER NOT NULL DEFAULT 0 CHECK (cost >= 0),
  created_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS usage_logs_org_id ON usage_logs (org_id);
CREATE INDEX IF NOT EXISTS usage_logs_instance_id ON usage_logs (instance_id, timestamp);
CREATE INDEX IF NOT EXISTS usage_logs_project_id ON usage_logs (project_id);
CREATE INDEX IF NOT EXISTS usage_logs_user_id ON usage_logs (user_id);

-- Entries outlive what they name, so they reference nothing.
CREATE TABLE IF NOT EXISTS logs (
  log_id TEXT PRIMARY KEY NOT NULL,
  timestamp TEXT NOT NULL,
  level TEXT NOT NULL CHECK (level IN ('DEBUG', 'INFO', 'WARN', 'ERROR')),
  message TEXT NOT NULL,
  request_id TEXT NOT NULL,
  instance_id TEXT,
  user_id TEXT,
  component TEXT NOT NULL,
  metadata TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata) AND json_type(metadata) = 'object'),
  created_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS logs_timestamp ON logs (timestamp, log_id);
CREATE INDEX IF NOT EXISTS logs_instance_id ON logs (instance_id, timestamp);
CREATE INDEX IF NOT EXISTS logs_request_id ON logs (request_id);
