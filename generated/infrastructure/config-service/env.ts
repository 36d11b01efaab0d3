// What the Config Service is bound to. Names and kinds stand in wrangler.toml; secrets come from `wrangler secret put`.

export interface ConfigServiceEnv {
  DB: D1Database;
  /** Shared with the Workers that look configurations up; this service only deletes from it. */
  CONFIG_CACHE: KVNamespace;
  /** Secret: `<key id>:<32 bytes in base64>`, comma-separated, the active key first. Encrypts provider keys. */
  PROVIDER_KEY_ENCRYPTION_KEYS: string;
  /** Secret: what our own Workers send instead of a platform key. Unset: there are no service callers. */
  SERVICE_TOKEN?: string;
  /** Comma-separated origins of the browser applications that may call this service. */
  ALLOWED_ORIGINS?: string;
}
