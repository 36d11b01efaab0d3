// Ids of entries: UUIDs of version 7, which begin with the time and a counter. A Worker's clock stands still while it
// computes, so that many entries bear the same millisecond; their ids still sort in the order in which they were written.

const COUNTER_MAX = 0xfff;

let lastMs = -1;
let counter = 0;

export function newLogId(nowMs: number): string {
  counter = nowMs === lastMs ? Math.min(counter + 1, COUNTER_MAX) : 0;
  lastMs = nowMs;
  const time = Math.max(0, Math.floor(nowMs)).toString(16).padStart(12, '0').slice(-12);
  const count = counter.toString(16).padStart(3, '0');
  const random = crypto.randomUUID().slice(19);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${count}-${random}`;
}
