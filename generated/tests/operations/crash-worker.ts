// The Worker that crash.node.test.ts kills: it answers when what it has logged is held durably.
import { createLogger, type LogEnv } from '@/workers/shared/logging/logger';

export { LogBuffer } from '@/workers/shared/logging/log-buffer';

export default {
  async fetch(request, env, ctx) {
    const message = new URL(request.url).pathname;
    const logger = createLogger({ component: 'crash-worker', instance_id: 'production', env, ctx });
    logger.info(message);
    return new Response(null, { status: (await logger.flush()) ? 204 : 503 });
  },
} satisfies ExportedHandler<LogEnv>;
