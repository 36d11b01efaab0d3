// The Worker that tests run in: it exports the Durable Object classes that exist so far, so that their bindings work.
type Module = Record<string, unknown>;

const modules: Module = Object.assign(
  {},
  ...Object.values(
    import.meta.glob<Module>(
      [
        '../workers/shared/rate-limiter/limiter.ts',
        '../workers/shared/error-handling/circuit-breaker-object.ts',
        '../workers/shared/logging/log-buffer.ts',
        '../workers/image-gen/generation-job.ts',
      ],
      { eager: true },
    ),
  ),
);

export const { RateLimiter, CircuitBreaker, LogBuffer, GenerationJob } = modules;

export default {
  fetch: () => new Response('tests call the code under test directly', { status: 404 }),
};
