// One entry in full, and what else the same request left in the logs.
import type { ReactNode } from 'react';
import { Link } from 'react-router';
import type { LogEntry } from '../../api/types';
import { CopyButton } from '../../components/copy-button';
import { Dialog } from '../../components/dialog';
import { Button, Mono } from '../../components/elements';
import { Failure, Loading, LoadMore } from '../../components/states';
import { usePagedList } from '../../hooks/use-paged-list';
import { LevelBadge, LogTime } from './log-list';

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="grid gap-x-4 py-2 sm:grid-cols-[8rem_minmax(0,1fr)]">
      <dt className="text-sm text-muted">{name}</dt>
      <dd className="min-w-0 break-words">{children}</dd>
    </div>
  );
}

function SameRequest({ entry, onOpen }: { entry: LogEntry; onOpen: (other: LogEntry) => void }) {
  const list = usePagedList(`request ${entry.request_id}`, (client, cursor, signal) =>
    client.logs(
      { request_id: entry.request_id, ...(cursor === undefined ? {} : { cursor }) },
      signal,
    ),
  );
  const others = list.items?.filter(({ log_id }) => log_id !== entry.log_id);
  return (
    <section aria-label="The same request">
      <h3 className="mt-6 mb-2 font-semibold">The same request</h3>
      {list.failure !== null && <Failure failure={list.failure} onRetry={list.reload} compact />}
      {list.items === null && list.isLoading && <Loading label="Loading entries" rows={1} />}
      {others?.length === 0 && <p className="text-sm text-muted">It left no other entry.</p>}
      {others !== undefined && others.length > 0 && (
        <ul className="divide-y divide-line rounded-lg border border-line">
          {others.map((other) => (
            <li key={other.log_id}>
              <button
                type="button"
                onClick={() => onOpen(other)}
                className="grid w-full gap-x-3 px-3 py-2 text-left text-sm hover:bg-sunken focus-visible:-outline-offset-2 sm:grid-cols-[auto_4rem_minmax(0,1fr)]"
              >
                <span className="text-muted">
                  <LogTime timestamp={other.timestamp} />
                </span>
                <span>
                  <LevelBadge level={other.level} />
                </span>
                <span className="break-words">
                  {other.message} <span className="text-muted">{other.component}</span>
                </span>
              </button>
            </li>
          ))}
        </ul>
      )}
      {list.hasMore && (
        <LoadMore
          shown={list.items?.length ?? 0}
          noun="entries"
          hasMore={list.hasMore}
          isLoading={list.isLoadingMore}
          failure={list.moreFailure}
          onMore={list.more}
        />
      )}
    </section>
  );
}

export function EntryDrawer({
  entry,
  onOpen,
  onFilterRequest,
  onClose,
}: {
  entry: LogEntry;
  onOpen: (other: LogEntry) => void;
  onFilterRequest: () => void;
  onClose: () => void;
}) {
  const metadata = JSON.stringify(entry.metadata, null, 2);
  return (
    <Dialog title="Log entry" shape="drawer" onClose={onClose}>
      <p className="mb-3 text-lg font-medium break-words">{entry.message}</p>
      <dl className="divide-y divide-line">
        <Fact name="Level">
          <LevelBadge level={entry.level} />
        </Fact>
        <Fact name="Time">
          <LogTime timestamp={entry.timestamp} />{' '}
          <span className="text-sm text-muted">({entry.timestamp})</span>
        </Fact>
        <Fact name="Component">{entry.component}</Fact>
        <Fact name="Instance">
          {entry.instance_id === null ? (
            '–'
          ) : (
            <Link className="text-accent underline" to={`/instances/id/${entry.instance_id}`}>
              {entry.instance_id}
            </Link>
          )}
        </Fact>
        <Fact name="User">
          {entry.user_id === null ? (
            '–'
          ) : (
            <Link className="text-accent underline" to={`/users/id/${entry.user_id}`}>
              <Mono>{entry.user_id}</Mono>
            </Link>
          )}
        </Fact>
        <Fact name="Request">
          <Mono>{entry.request_id}</Mono>
        </Fact>
        <Fact name="Entry">
          <Mono>{entry.log_id}</Mono>
        </Fact>
      </dl>
      <h3 className="mt-5 mb-2 font-semibold">Metadata</h3>
      <pre className="break-words whitespace-pre-wrap rounded-lg border border-line bg-sunken p-3 font-mono text-[0.8125rem]">
        {metadata}
      </pre>
      <div className="mt-3 flex flex-wrap gap-3">
        <CopyButton text={JSON.stringify(entry, null, 2)} label="Copy entry" />
        <Button icon="search" onClick={onFilterRequest}>
          Show only this request
        </Button>
      </div>
      <SameRequest entry={entry} onOpen={onOpen} />
    </Dialog>
  );
}
