// Keeps metrics fresh: one load at a time, every 30 seconds, not while paused or out of sight; the last good data stay.
import { ApiFailure } from './api';
import type { Metrics } from './metrics';
import { type Selection, writeSelection } from './selection';

export const REFRESH_MS = 30_000;

export interface RefreshState {
  metrics: Metrics | null;
  /** Whether `metrics` are of the present selection: those of the one before stay until the first load. */
  current: boolean;
  loading: boolean;
  paused: boolean;
  failure: ApiFailure | null;
  refreshedAtMs: number | null;
}

export type LoadMetrics = (selection: Selection, signal: AbortSignal) => Promise<Metrics>;

export class Refresher {
  readonly #load: LoadMetrics;
  readonly #listeners = new Set<() => void>();
  #selection: Selection | null = null;
  #running: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the last load ended, well or not. */
  #endedAtMs = Number.NEGATIVE_INFINITY;
  #state: RefreshState = {
    metrics: null,
    current: false,
    loading: false,
    paused: false,
    failure: null,
    refreshedAtMs: null,
  };

  constructor(load: LoadMetrics) {
    this.#load = load;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): RefreshState => this.#state;

  /** Begins to watch whether the page is seen. Returns what ends everything. */
  start(): () => void {
    const follow = () => this.#schedule();
    document.addEventListener('visibilitychange', follow);
    this.#schedule();
    return () => {
      document.removeEventListener('visibilitychange', follow);
      clearTimeout(this.#timer);
      this.#running?.abort();
      this.#running = null;
      this.#selection = null;
    };
  }

  /** Another selection is loaded at once, even while paused; a load of the one before is dropped. */
  select(selection: Selection): void {
    if (this.#selection !== null && writeSelection(selection) === writeSelection(this.#selection)) {
      return;
    }
    this.#selection = selection;
    this.#running?.abort();
    this.#running = null;
    this.#change({ current: false, failure: null });
    void this.refresh();
  }

  setPaused(paused: boolean): void {
    this.#change({ paused });
    this.#schedule();
  }

  /** Does nothing while a load runs. */
  async refresh(): Promise<void> {
    const selection = this.#selection;
    if (selection === null || this.#running !== null) {
      return;
    }
    clearTimeout(this.#timer);
    const controller = new AbortController();
    this.#running = controller;
    this.#change({ loading: true });
    const outcome = await this.#attempt(selection, controller.signal);
    if (controller.signal.aborted) {
      return;
    }
    this.#running = null;
    this.#endedAtMs = Date.now();
    this.#change({ ...outcome, loading: false });
    this.#schedule();
  }

  async #attempt(selection: Selection, signal: AbortSignal): Promise<Partial<RefreshState>> {
    try {
      const metrics = await this.#load(selection, signal);
      return { metrics, current: true, failure: null, refreshedAtMs: Date.now() };
    } catch (error) {
      return { failure: error instanceof ApiFailure ? error : new ApiFailure(String(error)) };
    }
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const idle = this.#selection === null || this.#running !== null;
    if (idle || this.#state.paused || document.hidden) {
      return;
    }
    const dueInMs = Math.max(0, this.#endedAtMs + REFRESH_MS - Date.now());
    this.#timer = setTimeout(() => void this.refresh(), dueInMs);
  }

  #change(change: Partial<RefreshState>): void {
    this.#state = { ...this.#state, ...change };
    for (const listener of this.#listeners) {
      listener();
    }
  }
}
