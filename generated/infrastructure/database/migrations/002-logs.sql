-- Migration 002: what the Workers log.
-- Written through the Durable Object LogBuffer (workers/shared/logging), read by the Config Service, and deleted after 30 days.

-- instance_id and user_id reference nothing: an entry outlives whatever it tells of.
CREATE TABLE logs (
  log_id TEXT PRIMARY KEY NOT NULL CHECK (length(log_id) BETWEEN 1 AND 63),
  timestamp TEXT NOT NULL,
  level TEXT NOT NULL CHECK (level IN ('DEBUG', 'INFO', 'WARN', 'ERROR')),
  message TEXT NOT NULL,
  request_id TEXT NOT NULL COLLATE NOCASE,
  instance_id TEXT,
  user_id TEXT,
  component TEXT NOT NULL,
  metadata TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata) AND json_type(metadata) = 'object'),
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

-- Lists are read newest first, in the order of (timestamp, log_id): each index ends with it, so that nothing is sorted.
CREATE INDEX logs_by_instance ON logs (instance_id, timestamp, log_id);
CREATE INDEX logs_by_level ON logs (level, timestamp, log_id);
CREATE INDEX logs_by_request ON logs (request_id, timestamp, log_id);
CREATE INDEX logs_by_time ON logs (timestamp, log_id);

-- The entries that metrics are counted from: one for each request, among many others.
CREATE INDEX logs_of_requests ON logs (instance_id, timestamp)
  WHERE json_extract(metadata, '$.event') = 'request';
