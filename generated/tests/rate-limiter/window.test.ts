// The rules of admission, with time passed in.
import { describe, expect, test } from 'vitest';
import { type Limits, RollingWindow } from '@/workers/shared/rate-limiter/window';

const START = Date.parse('2035-03-01T10:00:00.000Z');
const SECOND = 1000;

/** A window in which requests with these tokens were admitted at these seconds. */
function windowWith(...admissions: [atSecond: number, tokens?: number][]): RollingWindow {
  const window = new RollingWindow();
  for (const [atSecond, tokens = 0] of admissions) {
    window.admit(START + atSecond * SECOND, {}, tokens);
  }
  return window;
}

/** What a request meets at this second: `admitted`, or the seconds to wait. */
function ask(window: RollingWindow, atSecond: number, limits: Limits, tokens = 0) {
  const outcome = window.admit(START + atSecond * SECOND, limits, tokens);
  return 'allowed' in outcome ? outcome.retryAfterSeconds : 'admitted';
}

describe('requests', () => {
  test('are admitted up to the limit, then refused', () => {
    const window = new RollingWindow();
    const outcomes = Array.from({ length: 5 }, () => ask(window, 0, { rpm: 3 }));
    expect(outcomes).toEqual(['admitted', 'admitted', 'admitted', 60, 60]);
  });

  test('leave the window after 60 seconds, not before', () => {
    expect(ask(windowWith([0]), 59, { rpm: 1 })).toBe(1);
    expect(ask(windowWith([0]), 59.999, { rpm: 1 })).toBe(1);
    expect(ask(windowWith([0]), 60, { rpm: 1 })).toBe('admitted');
    expect(ask(windowWith([0]), 61, { rpm: 1 })).toBe('admitted');
  });

  test('leave it one by one, not all at once', () => {
    const window = windowWith([0], [20], [40]);
    const limits = { rpm: 3 };
    expect(ask(window, 59, limits)).toBe(1);
    expect(ask(window, 61, limits)).toBe('admitted');
    expect(ask(window, 61, limits)).toBe(19);
    expect(ask(window, 81, limits)).toBe('admitted');
    expect(ask(window, 81, limits)).toBe(19);
    expect(window.size).toBe(3);
  });

  test('that were refused use up nothing', () => {
    const window = windowWith([0]);
    for (let second = 1; second < 60; second += 1) {
      expect(ask(window, second, { rpm: 1 })).toBe(60 - second);
    }
    expect(window.size).toBe(1);
    expect(ask(window, 60, { rpm: 1 })).toBe('admitted');
  });

  test('never are more than the limit in any 60 seconds, and none is refused while there is room', () => {
    const window = new RollingWindow();
    const admittedAtMs: number[] = [];
    let elapsedMs = 0;
    for (let step = 0; step < 5000; step += 1) {
      elapsedMs += ((step * 7919) % 13) * 100;
      const inWindow = admittedAtMs.filter((admitted) => admitted > elapsedMs - 60_000).length;
      const outcome = ask(window, elapsedMs / SECOND, { rpm: 20 });
      expect(outcome === 'admitted').toBe(inWindow < 20);
      if (outcome === 'admitted') {
        admittedAtMs.push(elapsedMs);
      }
    }
    expect(admittedAtMs.length).toBeGreaterThan(500);
  });
});

describe('tokens', () => {
  test('are admitted up to the limit', () => {
    const window = windowWith([0, 60]);
    expect(ask(window, 1, { tpm: 100 }, 41)).toBe(59);
    expect(ask(window, 1, { tpm: 100 }, 40)).toBe('admitted');
    expect(ask(window, 2, { tpm: 100 }, 1)).toBe(58);
  });

  test('that are not known yet need room for at least one', () => {
    expect(ask(windowWith([0, 99]), 1, { tpm: 100 })).toBe('admitted');
    expect(ask(windowWith([0, 100]), 1, { tpm: 100 })).toBe(59);
  });

  test('make a request wait until enough of them have left', () => {
    const limits = { tpm: 100 };
    const filled = () => windowWith([0, 30], [10, 30], [20, 30]);
    expect(ask(filled(), 30, limits, 10)).toBe('admitted');
    expect(ask(filled(), 30, limits, 11)).toBe(30);
    expect(ask(filled(), 30, limits, 40)).toBe(30);
    expect(ask(filled(), 30, limits, 41)).toBe(40);
    expect(ask(filled(), 30, limits, 71)).toBe(50);
  });

  test('beyond the limit in one request can never be admitted, which the answer says', () => {
    const window = new RollingWindow();
    expect(window.admit(START, { tpm: 100 }, 101)).toEqual({
      allowed: false,
      retryAfterSeconds: 60,
      reason: 'never',
    });
    expect(ask(window, 0, { tpm: 100 }, 100)).toBe('admitted');
  });

  test('are settled downwards and upwards, and only while their entry is in the window', () => {
    const window = new RollingWindow();
    const entries = [50, 40].map((tokens, second) =>
      window.admit(START + second * SECOND, {}, tokens),
    );
    const [first, second] = entries.map((entry) => ('id' in entry ? entry.id : 0));
    expect(ask(window, 2, { tpm: 100 }, 20)).toBe(58);
    expect(window.settle(first ?? 0, 10)).toBe(true);
    expect(ask(window, 2, { tpm: 100 }, 20)).toBe('admitted');
    expect(window.settle(second ?? 0, 500)).toBe(true);
    expect(ask(window, 3, { tpm: 100 }, 1)).toBe(58);
    expect(window.settle(12345, 7)).toBe(false);
    window.drop(START + 60 * SECOND);
    expect(window.settle(first ?? 0, 7)).toBe(false);
    expect(ask(window, 61, { tpm: 100 }, 80)).toBe('admitted');
  });
});

describe('limits', () => {
  test('both hold, and the later of the two waits is told', () => {
    const window = windowWith([0, 10], [30, 80]);
    const both = { rpm: 2, tpm: 100 };
    expect(ask(window, 40, both, 5)).toBe(20);
    expect(ask(window, 40, both, 15)).toBe(20);
    expect(ask(window, 40, both, 30)).toBe(50);
    expect(ask(window, 40, { rpm: 3, tpm: 100 }, 5)).toBe('admitted');
  });

  test.each<[string, Limits, number, string]>([
    ['requests', { rpm: 1 }, 0, 'requests'],
    ['tokens', { rpm: 5, tpm: 10 }, 5, 'tokens'],
    ['none that will ever admit it', { rpm: 0 }, 0, 'never'],
  ])('say what stands in the way: %s', (_, limits, tokens, reason) => {
    expect(windowWith([0, 10]).admit(START, limits, tokens)).toMatchObject({ reason });
  });

  test('that are missing limit nothing, and 0 admits nothing', () => {
    const window = new RollingWindow();
    for (let count = 0; count < 2000; count += 1) {
      expect(ask(window, 0, {}, 1000)).toBe('admitted');
    }
    expect(ask(new RollingWindow(), 0, { rpm: 0 })).toBe(60);
    expect(ask(new RollingWindow(), 0, { tpm: 0 })).toBe(60);
  });

  test('may change between calls: a lower one waits for several entries to leave', () => {
    const window = windowWith([0], [10], [20], [30]);
    expect(ask(window, 40, { rpm: 4 })).toBe(20);
    expect(ask(window, 40, { rpm: 3 })).toBe(30);
    expect(ask(window, 40, { rpm: 1 })).toBe(50);
    expect(ask(window, 40, { rpm: 5 })).toBe('admitted');
  });
});

describe('the window itself', () => {
  test('keeps its order and its promises when the clock is set back', () => {
    const window = windowWith([30], [10]);
    expect(ask(window, 0, { rpm: 2 })).toBe(60);
    expect(ask(window, 89, { rpm: 2 })).toBe(1);
    expect(ask(window, 90, { rpm: 2 })).toBe('admitted');
  });

  test('gives every admission an id of its own, also for those of one millisecond', () => {
    const window = new RollingWindow();
    const ids = Array.from({ length: 5000 }, () => {
      const entry = window.admit(START, {}, 0);
      return 'id' in entry ? entry.id : 0;
    });
    expect(new Set(ids).size).toBe(5000);
    expect(ids).toEqual(ids.toSorted((left, right) => left - right));
  });

  test('holds no more than what is inside, over a long time', () => {
    const window = new RollingWindow();
    for (let second = 0; second < 4000; second += 1) {
      window.admit(START + second * SECOND, {}, 1);
      expect(window.size).toBeLessThanOrEqual(60);
    }
    expect(window.emptyAtMs).toBe(START + 4059 * SECOND);
    window.drop(START + 5000 * SECOND);
    expect([window.size, window.emptyAtMs]).toEqual([0, null]);
  });
});
