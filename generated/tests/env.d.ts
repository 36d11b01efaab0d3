// The bindings that vitest.config.ts gives to every test in workerd.
declare namespace Cloudflare {
  interface Env {
    DB: D1Database;
    CONFIG_CACHE: KVNamespace;
    IMAGES: R2Bucket;
    IMAGES_PROD_IMAGES: R2Bucket;
    RATE_LIMITER: DurableObjectNamespace;
    CIRCUIT_BREAKER: DurableObjectNamespace;
    LOG_BUFFER: DurableObjectNamespace;
    JOBS: DurableObjectNamespace;
    TEST_MIGRATIONS: import('cloudflare:test').D1Migration[];
  }
}

// Files imported as text, such as SQL scripts.
declare module '*?raw' {
  const text: string;
  export default text;
}

// Modules that may not be there yet.
interface ImportMeta {
  glob<Module>(patterns: string[], options: { eager: true }): Record<string, Module>;
}
