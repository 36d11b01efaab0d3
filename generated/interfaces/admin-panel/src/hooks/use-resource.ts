// Loads one thing for a page: again when its key or the session changes, and given up when the page is left.
import { useCallback, useEffect, useEffectEvent, useState } from 'react';
import type { ApiClient } from '../api/client';
import { type ApiFailure, asFailure } from '../api/failure';
import { useSession } from '../session/session';

interface State<Value> {
  key: string;
  value: Value | null;
  failure: ApiFailure | null;
  isLoading: boolean;
}

export interface Resource<Value> {
  value: Value | null;
  failure: ApiFailure | null;
  isLoading: boolean;
  reload: () => void;
  replace: (value: Value) => void;
}

export function useResource<Value>(
  key: string,
  load: (client: ApiClient, signal: AbortSignal) => Promise<Value>,
): Resource<Value> {
  const { client } = useSession();
  const [attempt, setAttempt] = useState(0);
  const initial: State<Value> = { key, value: null, failure: null, isLoading: true };
  const [state, setState] = useState(initial);
  const run = useEffectEvent(load);

  // `attempt` is what asks again for the same.
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  useEffect(() => {
    const controller = new AbortController();
    // What is there stays while it is asked for again, unless it is something else's.
    setState((current) =>
      current.key === key
        ? { ...current, isLoading: true }
        : { key, value: null, failure: null, isLoading: true },
    );
    run(client, controller.signal).then(
      (value) => {
        if (!controller.signal.aborted) {
          setState({ key, value, failure: null, isLoading: false });
        }
      },
      (error: unknown) => {
        if (!controller.signal.aborted) {
          setState((current) => ({ ...current, failure: asFailure(error), isLoading: false }));
        }
      },
    );
    return () => controller.abort();
  }, [client, key, attempt]);

  const reload = useCallback(() => setAttempt((count) => count + 1), []);
  const replace = useCallback(
    (value: Value) => setState({ key, value, failure: null, isLoading: false }),
    [key],
  );
  const { value, failure, isLoading } = state.key === key ? state : initial;
  return { value, failure, isLoading, reload, replace };
}
