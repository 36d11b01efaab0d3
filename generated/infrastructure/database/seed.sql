-- Data for development and tests: an organisation with two instances, two users and two projects.
-- Running it again changes nothing. It holds no key and no provider secret: those are made where they are used.

INSERT INTO organizations (org_id, name, billing_email, created_at, updated_at)
VALUES ('example-org', 'Example Organisation', 'billing@example.com', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z')
ON CONFLICT DO NOTHING;

INSERT INTO instances (instance_id, org_id, name, config, created_at, updated_at)
VALUES
  (
    'production', 'example-org', 'Production',
    '{"api_keys":{},"rate_limits":{"ideogram":{"rpm":500,"tpm":100000}},"worker_urls":{},"r2_bucket":"production-images"}',
    '2026-01-01T00:00:01.000Z', '2026-01-01T00:00:01.000Z'
  ),
  (
    'development', 'example-org', 'Development',
    '{"api_keys":{},"rate_limits":{"ideogram":{"rpm":10,"tpm":10000}},"worker_urls":{},"r2_bucket":"development-images"}',
    '2026-01-01T00:00:02.000Z', '2026-01-01T00:00:02.000Z'
  )
ON CONFLICT DO NOTHING;

INSERT INTO users (user_id, email, role, org_id, created_at, updated_at)
VALUES
  ('3f0c8a52-6a0e-4d0b-9a52-0d6f3c1f7a01', 'admin@example.com', 'superadmin', 'example-org', '2026-01-01T00:00:03.000Z', '2026-01-01T00:00:03.000Z'),
  ('8b1d5e94-27c3-4f6e-b1a7-5c9e2d4f8b02', 'developer@example.com', 'user', 'example-org', '2026-01-01T00:00:04.000Z', '2026-01-01T00:00:04.000Z')
ON CONFLICT DO NOTHING;

INSERT INTO user_instance_access (user_id, instance_id, granted_by, created_at)
VALUES ('8b1d5e94-27c3-4f6e-b1a7-5c9e2d4f8b02', 'development', '3f0c8a52-6a0e-4d0b-9a52-0d6f3c1f7a01', '2026-01-01T00:00:05.000Z')
ON CONFLICT DO NOTHING;

INSERT INTO projects (project_id, instance_id, name, settings, created_at, updated_at)
VALUES
  ('content-forge', 'production', 'Content Forge', '{"default_model":"ideogram-v2"}', '2026-01-01T00:00:06.000Z', '2026-01-01T00:00:06.000Z'),
  ('playground', 'development', 'Playground', '{}', '2026-01-01T00:00:07.000Z', '2026-01-01T00:00:07.000Z')
ON CONFLICT DO NOTHING;
