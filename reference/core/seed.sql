-- Something to begin with: one organisation, two instances, two users, two projects. It holds no key. May be run again.

INSERT OR IGNORE INTO organizations (org_id, name, billing_email, created_at, updated_at) VALUES
  ('example-org', 'Example Organization', 'billing@example.com', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z');

INSERT OR IGNORE INTO instances (instance_id, org_id, name, config, created_at, updated_at) VALUES
  ('production', 'example-org', 'Production', '{"api_keys":{},"rate_limits":{"ideogram":{"rpm":500}},"worker_urls":{},"r2_bucket":null}', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z'),
  ('development', 'example-org', 'Development', '{"api_keys":{},"rate_limits":{"ideogram":{"rpm":10}},"worker_urls":{},"r2_bucket":null}', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z');

INSERT OR IGNORE INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES
  ('00000000-0000-4000-8000-000000000001', 'superadmin@example.com', 'superadmin', 'example-org', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z'),
  ('00000000-0000-4000-8000-000000000002', 'user@example.com', 'user', 'example-org', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z');

INSERT OR IGNORE INTO user_instance_access (user_id, instance_id, granted_by, created_at) VALUES
  ('00000000-0000-4000-8000-000000000002', 'production', '00000000-0000-4000-8000-000000000001', '2026-01-01T00:00:00.000Z');

INSERT OR IGNORE INTO projects (project_id, instance_id, name, settings, created_at, updated_at) VALUES
  ('content-forge', 'production', 'Content Forge', '{}', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z'),
  ('playground', 'development', 'Playground', '{}', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z');
