// Waiting that can be broken off, and replaced by a test's own.

/** Resolves after this time; rejects with the signal's reason as soon as that is aborted. */
export type Pause = (milliseconds: number, signal?: AbortSignal) => Promise<void>;

export const pause: Pause = (milliseconds, signal) =>
  new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason);
      return;
    }
    const breakOff = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', breakOff);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', breakOff, { once: true });
  });
