// The script that wrangler.toml deploys: the class, and a handler because a script must have one. It has no route.
export { RateLimiter } from './limiter';

export default {
  fetch: () => new Response(null, { status: 404 }),
} satisfies ExportedHandler;
