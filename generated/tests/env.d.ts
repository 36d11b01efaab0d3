// The bindings that vitest.config.ts gives to every test.
declare namespace Cloudflare {
  interface Env {
    DB: D1Database;
    CONFIG_CACHE: KVNamespace;
    TEST_MIGRATIONS: import('cloudflare:test').D1Migration[];
  }
}

// Files imported as text, such as SQL scripts.
declare module '*?raw' {
  const text: string;
  export default text;
}
