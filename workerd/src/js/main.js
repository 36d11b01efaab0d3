// The main module of every Worker: the Worker under test as it is, and an entry point of ours beside it, which only the control worker is bound to.
import { faulty, moveAlarms, setFaults, setOffset, stopAt } from 'driver:clock';
import * as worker from 'MAIN_MODULE';

export * from 'MAIN_MODULE';

const guarded = (handlers) => {
  if (typeof handlers === 'function') {
    return class extends handlers {
      constructor(ctx, env) {
        super(ctx, faulty(env));
      }
    };
  }
  if (typeof handlers?.fetch !== 'function') {
    return handlers;
  }
  return { ...handlers, fetch: (request, env, ctx) => handlers.fetch(request, faulty(env), ctx) };
};
export default guarded(worker.default);

// Durable Objects, with alarms that go by the driver's clock.
DURABLE_OBJECTS

const scheduled = async (cron, scheduledTime, env, ctx) => {
  const handlers = typeof worker.default === 'function' ? new worker.default(ctx, env) : worker.default;
  if (typeof handlers.scheduled !== 'function') {
    throw new Error('this Worker has no scheduled handler');
  }
  const event = { cron, scheduledTime, type: 'scheduled', noRetry() {} };
  if (typeof worker.default === 'function') {
    await handlers.scheduled(event);
  } else {
    await handlers.scheduled(event, env, ctx);
  }
};

export const driverControl = {
  async fetch(request, env, ctx) {
    const asked = await request.json();
    if (asked.offset_ms !== undefined) {
      setOffset(asked.offset_ms);
    }
    if (asked.still_ms !== undefined) {
      stopAt(asked.still_ms);
    }
    if (asked.faults !== undefined) {
      setFaults(asked.faults);
    }
    if (asked.cron !== undefined) {
      await scheduled(asked.cron, Date.now(), env, ctx);
    }
    return Response.json({ now: Date.now() });
  },
};
