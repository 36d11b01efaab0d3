// From the configuration to the session to the pages.
import { type ComponentProps, useEffect, useState } from 'react';
import { RouterProvider } from 'react-router';
import type { Fetch } from './api/client';
import { ApiFailure } from './api/failure';
import { Announcer } from './components/announcer';
import { Failure } from './components/states';
import { type Configuration, loadConfiguration } from './configuration';
import { SessionProvider } from './session/session';

type Loaded = { configuration: Configuration } | { problem: string } | null;

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

export function App({
  router,
  fetch,
}: {
  router: ComponentProps<typeof RouterProvider>['router'];
  /** Tests bring their own. */
  fetch?: Fetch;
}) {
  const [loaded, setLoaded] = useState<Loaded>(null);

  useEffect(() => {
    if (loaded !== null) {
      return;
    }
    let isCurrent = true;
    loadConfiguration(fetch).then(
      (configuration) => isCurrent && setLoaded({ configuration }),
      (error: unknown) => isCurrent && setLoaded({ problem: messageOf(error) }),
    );
    return () => {
      isCurrent = false;
    };
  }, [loaded, fetch]);

  if (loaded === null) {
    return (
      <p role="status" className="p-8 text-muted">
        Loading…
      </p>
    );
  }
  if ('problem' in loaded) {
    return (
      <main className="mx-auto max-w-lg p-8">
        <h1 className="mb-4 text-2xl font-semibold">Admin panel</h1>
        <Failure
          failure={new ApiFailure('unexpected', loaded.problem)}
          onRetry={() => setLoaded(null)}
        />
      </main>
    );
  }
  return (
    <SessionProvider configuration={loaded.configuration} fetch={fetch}>
      <Announcer>
        <RouterProvider router={router} />
      </Announcer>
    </SessionProvider>
  );
}
