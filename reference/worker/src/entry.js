// The main module: hands events to the core in WebAssembly. After a panic the core begins anew, and so do the objects that lived in it.
import { DurableObject } from 'cloudflare:workers';
import * as core from './bindings.js';

const state = core.__worker_init_state();

const guarded = async (action) => {
  if (state.criticalError) {
    core.__wbg_reset_state();
    state.criticalError = false;
  }
  try {
    return await action();
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) {
      state.criticalError = true;
    }
    throw error;
  }
};

const object = (name) =>
  class extends DurableObject {
    #inner;
    #instance;

    #current() {
      if (this.#instance !== state.instanceId) {
        this.#inner = new core[name](this.ctx, this.env);
        this.#instance = state.instanceId;
      }
      return this.#inner;
    }

    fetch(request) {
      return guarded(() => this.#current().fetch(request));
    }

    alarm() {
      return guarded(() => this.#current().alarm());
    }
  };

export const RateLimiter = object('RateLimiter');
export const CircuitBreaker = object('CircuitBreaker');
export const Jobs = object('Jobs');
export const LogBuffer = object('LogBuffer');

export default {
  fetch(request, env, ctx) {
    // What was begun is brought to its end, even if nobody waits for the answer any more.
    const answer = guarded(() => core.fetch(request, env, ctx));
    ctx.waitUntil(answer);
    return answer;
  },
  scheduled(event, env, ctx) {
    return guarded(() => core.scheduled(event, env, ctx));
  },
};
