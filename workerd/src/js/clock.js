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
  const due = still + Number(delay);
  const fire = () => {
    if (still !== null && still < due) {
      still = due;
    }
    callback(...rest);
  };
  return realTimeout(fire, Number(delay) / 4);
};

export const setOffset = (milliseconds) => {
  offset = milliseconds;
  still = null;
};

export const stopAt = (milliseconds) => {
  still = milliseconds;
};
