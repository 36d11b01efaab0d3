// From nothing to the dashboard: the configuration, then a key, then the instances that it reaches.
import { useCallback, useEffect, useMemo, useState } from 'react';
import { ApiFailure, createApi, type Instance, type MetricsApi } from './api';
import { Dashboard } from './components/dashboard';
import { KeyForm } from './components/key-form';
import { FullPage, Trouble } from './components/states';
import { loadConfiguration } from './configuration';
import { readKey, storeKey } from './session';

type Stage =
  | { name: 'starting' }
  | { name: 'broken'; message: string }
  | { name: 'key'; message: string | null; checking: boolean }
  | { name: 'ready'; api: MetricsApi; instances: Instance[] };

const REJECTED = 'The key was not accepted. It may be mistyped, revoked or expired.';

const browserFetch: typeof fetch = (input, init) => fetch(input, init);

const wordsOf = (error: unknown): string => {
  if (error instanceof ApiFailure && error.status === 401) {
    return REJECTED;
  }
  return error instanceof Error ? error.message : String(error);
};

export function App({ load = browserFetch }: { load?: typeof fetch }) {
  const [baseUrl, setBaseUrl] = useState<string | null>(null);
  const [stage, setStage] = useState<Stage>({ name: 'starting' });

  const enter = useCallback(
    async (url: string, key: string) => {
      setStage({ name: 'key', message: null, checking: true });
      const api = createApi(url, key, load);
      try {
        const instances = await api.instances();
        storeKey(key);
        setStage({ name: 'ready', api, instances });
      } catch (error) {
        if (error instanceof ApiFailure && error.status === 401) {
          storeKey(null);
        }
        setStage({ name: 'key', message: wordsOf(error), checking: false });
      }
    },
    [load],
  );

  const start = useCallback(async () => {
    setStage({ name: 'starting' });
    try {
      const { configServiceUrl } = await loadConfiguration(load);
      setBaseUrl(configServiceUrl);
      const key = readKey();
      if (key === null) {
        setStage({ name: 'key', message: null, checking: false });
      } else {
        await enter(configServiceUrl, key);
      }
    } catch (error) {
      setStage({ name: 'broken', message: wordsOf(error) });
    }
  }, [load, enter]);

  useEffect(() => {
    void start();
  }, [start]);

  const leave = useCallback((message: string | null) => {
    storeKey(null);
    setStage({ name: 'key', message, checking: false });
  }, []);
  const onUnauthorized = useMemo(() => () => leave(REJECTED), [leave]);
  const onLeave = useMemo(() => () => leave(null), [leave]);

  switch (stage.name) {
    case 'starting':
      return (
        <FullPage>
          <p role="status" className="text-muted">
            Loading…
          </p>
        </FullPage>
      );
    case 'broken':
      return (
        <FullPage>
          <Trouble title="This page is not configured" message={stage.message}>
            <button type="button" className="action" onClick={() => void start()}>
              Try again
            </button>
          </Trouble>
        </FullPage>
      );
    case 'key':
      return (
        <FullPage>
          <KeyForm
            message={stage.message}
            checking={stage.checking}
            onKey={(key) => void enter(baseUrl ?? '', key)}
          />
        </FullPage>
      );
    case 'ready':
      return (
        <Dashboard
          api={stage.api}
          instances={stage.instances}
          onUnauthorized={onUnauthorized}
          onLeave={onLeave}
        />
      );
  }
}
