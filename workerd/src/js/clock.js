// The Workers' clock: the real one, moved by an offset, or one that stands still. It must be imported before the Worker under test, which may keep `Date`
// at its start.
const RealDate = Date;
const realTimeout = globalThis.setTimeout;
let offset = OFFSET_MS;
let still = STILL_MS;

const now = () => still ?? RealDate.now() + offset;

class MovedDate extends RealDate {
  constructor(...parts) {
    if (parts.length > 0) {
      super(...parts);
    } else {
      super(now());
    }
  }
  static now() {
    return now();
  }
}
globalThis.Date = MovedDate;

// While the clock stands, whoever waits moves it, and waits a quarter as long.
globalThis.setTimeout = (callback, delay = 0, ...rest) => {
  if (still === null) {
    return realTimeout(callback, delay, ...rest);
  }
  // Whole milliseconds, as everywhere in the runtime: a random pause may have a fraction.
  const due = Math.round(still + Number(delay));
  const fire = () => {
    if (still !== null && still < due) {
      still = due;
    }
    callback(...rest);
  };
  return realTimeout(fire, Number(delay) / 4);
};

// A limit on time is a timer as well. The clock moves only if somebody ran into it: most limits end unused.
const realTimeoutSignal = AbortSignal.timeout.bind(AbortSignal);
const ends = new WeakMap();
AbortSignal.timeout = (delay) => {
  if (still === null) {
    return realTimeoutSignal(delay);
  }
  const controller = new AbortController();
  const reason = new DOMException('The operation was aborted due to timeout', 'TimeoutError');
  ends.set(reason, Math.round(still + Number(delay)));
  realTimeout(() => controller.abort(reason), Number(delay) / 4);
  return controller.signal;
};

const realFetch = globalThis.fetch;
globalThis.fetch = async (input, init) => {
  try {
    return await realFetch(input, init);
  } catch (error) {
    const reason = (init?.signal ?? input?.signal)?.reason;
    const end = typeof reason === 'object' && reason !== null ? ends.get(reason) : undefined;
    if (end !== undefined && still !== null && still < end) {
      still = end;
    }
    throw error;
  }
};

// Alarms are kept by the runtime, which goes by real time. While the clock stands, they ring after a hundredth of their time.
const dues = new WeakMap();
export const moveAlarms = (storage) => {
  const prototype = Object.getPrototypeOf(storage);
  if (Object.hasOwn(prototype, 'movedByDriver')) {
    return;
  }
  const { setAlarm, getAlarm } = prototype;
  prototype.movedByDriver = true;
  prototype.setAlarm = function (at, ...rest) {
    const due = Number(at);
    dues.set(this, due);
    const delay = Math.max(0, due - now()) / (still === null ? 1 : 100);
    return setAlarm.call(this, RealDate.now() + delay, ...rest);
  };
  prototype.getAlarm = async function (...rest) {
    const real = await getAlarm.call(this, ...rest);
    return real === null ? null : (dues.get(this) ?? real - RealDate.now() + now());
  };
};

export const setOffset = (milliseconds) => {
  offset = milliseconds;
  still = null;
};

export const stopAt = (milliseconds) => {
  still = milliseconds;
};

// Bindings that fail because somebody wants it: `reject`, `hang`, or a status to answer with. `{ value }` puts a text in a binding's place, or nothing. Objects reject what they are asked, not that they are named.
let faults = {};
const HANG_MS = 5000;
const failing = (fault, input, init) => {
  if (typeof fault === 'number') {
    return Promise.resolve(Response.json({ error: 'as planned', code: 'PLANNED' }, { status: fault }));
  }
  const error = new Error('this binding is out of order');
  if (fault !== 'hang') {
    return Promise.reject(error);
  }
  return new Promise((resolve, reject) => {
    const signal = init?.signal ?? input?.signal;
    signal?.addEventListener('abort', () => reject(signal.reason));
    realTimeout(() => reject(error), HANG_MS);
  });
};
const NAMING = new Set(['idFromName', 'idFromString', 'newUniqueId', 'jurisdiction']);
const STUBBING = new Set(['get', 'getByName']);
const broken = (binding, fault) => {
  const isNamespace = typeof binding?.idFromName === 'function';
  return new Proxy(binding, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (typeof value !== 'function' || name === 'constructor') {
        return value;
      }
      if (isNamespace && NAMING.has(name)) {
        return value.bind(target);
      }
      if (isNamespace && STUBBING.has(name)) {
        return (...parts) => broken(value.apply(target, parts), fault);
      }
      return (input, init) => failing(fault, input, init);
    },
  });
};
export const faulty = (env) =>
  Object.keys(faults).length === 0
    ? env
    : new Proxy(env, {
        get: (target, name) => {
          const binding = Reflect.get(target, name, target);
          if (Object.hasOwn(faults, name) && typeof faults[name] === 'object') {
            return faults[name].value ?? undefined;
          }
          return Object.hasOwn(faults, name) && binding !== undefined ? broken(binding, faults[name]) : binding;
        },
      });

export const setFaults = (wanted) => {
  faults = wanted;
};
