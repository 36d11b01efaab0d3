// The Workers' clock: the real one, moved by an offset. It must be imported before the Worker under test, which may keep `Date` at its start.
const RealDate = Date;
let offset = OFFSET_MS;

class MovedDate extends RealDate {
  constructor(...parts) {
    if (parts.length > 0) {
      super(...parts);
    } else {
      super(RealDate.now() + offset);
    }
  }
  static now() {
    return RealDate.now() + offset;
  }
}
globalThis.Date = MovedDate;

export const setOffset = (milliseconds) => {
  offset = milliseconds;
};
