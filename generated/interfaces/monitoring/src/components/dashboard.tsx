// The dashboard: filters and freshness on top, then the numbers, then the charts.
import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import type { ApiFailure, Instance, MetricsApi } from '../api';
import { Directory } from '../directory';
import { formatClock } from '../format';
import { Refresher, type RefreshState } from '../refresher';
import { type Selection, useSelection } from '../selection';
import { Charts } from './charts';
import { Filters } from './filters';
import { LoadingDashboard, StaleNotice, Trouble } from './states';
import { Tiles } from './tiles';

interface Props {
  api: MetricsApi;
  instances: Instance[];
  onUnauthorized: () => void;
  onLeave: () => void;
}

function freshness({ loading, paused, refreshedAtMs }: RefreshState): string {
  const at = refreshedAtMs === null ? null : formatClock(refreshedAtMs);
  if (loading) {
    return at === null ? 'Loading…' : `Refreshing… last at ${at}`;
  }
  const updated = at === null ? 'Not loaded' : `Updated at ${at}`;
  return paused ? `${updated} · paused` : updated;
}

function titleOf({ status }: ApiFailure): string {
  switch (status) {
    case 403:
      return 'This key may not see these metrics';
    case 404:
      return 'No such instance';
    case null:
      return 'The metrics cannot be loaded';
    default:
      return `The Config Service answered with ${status}`;
  }
}

interface BodyProps {
  state: RefreshState;
  directory: Directory;
  onRetry: () => void;
  onReset: (() => void) | null;
}

function Body({ state, directory, onRetry, onReset }: BodyProps) {
  const { metrics, current, failure, loading, refreshedAtMs } = state;
  if (failure !== null && !(metrics !== null && current)) {
    return (
      <Trouble title={titleOf(failure)} message={failure.message} requestId={failure.requestId}>
        <button type="button" className="action" disabled={loading} onClick={onRetry}>
          Try again
        </button>
        {onReset === null ? null : (
          <button type="button" className="action" onClick={onReset}>
            Show all instances
          </button>
        )}
      </Trouble>
    );
  }
  if (metrics === null) {
    return <LoadingDashboard />;
  }
  return (
    <>
      {failure !== null && refreshedAtMs !== null ? (
        <StaleNotice>
          <strong>The last refresh failed.</strong> {failure.message} These are the numbers of{' '}
          {formatClock(refreshedAtMs)}.
        </StaleNotice>
      ) : null}
      {metrics.series.length === 0 ? (
        <p className="card p-6 text-center text-muted">
          There are no instances yet. Create one in the admin panel.
        </p>
      ) : (
        <div
          aria-busy={!current}
          className={`grid gap-4 transition-opacity ${current ? '' : 'opacity-50'}`}
        >
          <Tiles metrics={metrics} />
          <Charts metrics={metrics} directory={directory} />
        </div>
      )}
    </>
  );
}

export function Dashboard({ api, instances, onUnauthorized, onLeave }: Props) {
  const [selection, select] = useSelection();
  const directory = useMemo(() => new Directory(instances), [instances]);
  const [refresher] = useState(() => new Refresher(api.metrics));
  const state = useSyncExternalStore(refresher.subscribe, refresher.snapshot);
  useEffect(() => refresher.start(), [refresher]);
  useEffect(() => refresher.select(selection), [refresher, selection]);
  const unauthorized = state.failure?.status === 401;
  useEffect(() => {
    if (unauthorized) {
      onUnauthorized();
    }
  }, [unauthorized, onUnauthorized]);

  const refresh = () => void refresher.refresh();
  const showAll = (): Selection => ({ ...selection, instanceIds: [] });
  return (
    <div className="mx-auto max-w-7xl px-4 pt-4 pb-12 sm:px-6">
      <header className="flex flex-wrap items-center gap-x-3 gap-y-4 pb-4">
        <img src="/favicon.svg" alt="" width={32} height={32} />
        <h1 className="text-lg font-semibold tracking-tight">Monitoring</h1>
        <button type="button" className="action ml-auto" onClick={onLeave}>
          Forget key
        </button>
      </header>
      <div className="flex flex-wrap items-center justify-between gap-x-6 gap-y-3 pb-4">
        <Filters
          selection={selection}
          instances={instances}
          directory={directory}
          onSelect={select}
        />
        <div className="flex items-center gap-2 max-sm:w-full">
          <p className="mr-1 text-[0.8125rem] text-muted tabular-nums max-sm:grow sm:min-w-44 sm:text-right">
            {freshness(state)}
          </p>
          <button
            type="button"
            className="action"
            aria-pressed={state.paused}
            onClick={() => refresher.setPaused(!state.paused)}
          >
            {state.paused ? 'Resume' : 'Pause'}
          </button>
          <button type="button" className="action" disabled={state.loading} onClick={refresh}>
            Refresh
          </button>
        </div>
      </div>
      <main className="grid gap-4">
        <Body
          state={state}
          directory={directory}
          onRetry={refresh}
          onReset={selection.instanceIds.length === 0 ? null : () => select(showAll())}
        />
      </main>
      <footer className="pt-6 text-xs text-muted">
        Times are in your zone. The page refreshes every 30 seconds while it is seen.
      </footer>
    </div>
  );
}
