// What the Workers wrote, newest first, filtered by what stands in the address.
import { useRef, useState } from 'react';
import type { LogEntry } from '../../api/types';
import { Button } from '../../components/elements';
import { PageTitle } from '../../components/shell';
import { Empty, Failure, Loading, LoadMore } from '../../components/states';
import { useAddress } from '../../hooks/use-address';
import { usePagedList } from '../../hooks/use-paged-list';
import { EntryDrawer } from './entry-drawer';
import { FilterBar } from './filter-bar';
import { FILTER_NAMES, hasFilters, logQueryOf, readFilters } from './log-filters';
import { LogList } from './log-list';

export function LogsPage() {
  const { get, change } = useAddress();
  const filters = readFilters(get);
  const [opened, setOpened] = useState<LogEntry | null>(null);
  const askedAt = useRef(new Date());
  const list = usePagedList(JSON.stringify(filters), (client, cursor, signal) => {
    if (cursor === undefined) {
      askedAt.current = new Date();
    }
    return client.logs(
      { ...logQueryOf(filters, askedAt.current), ...(cursor === undefined ? {} : { cursor }) },
      signal,
    );
  });

  const filterRequest = (entry: LogEntry) => {
    setOpened(null);
    change({
      ...Object.fromEntries(FILTER_NAMES.map((name) => [name, null])),
      request_id: entry.request_id,
    });
  };

  return (
    <>
      <PageTitle
        title="Logs"
        subtitle="What the Workers wrote, newest first. Kept for 30 days."
        action={
          <Button icon="refresh" disabled={list.isLoading} onClick={list.reload}>
            Refresh
          </Button>
        }
      />
      <FilterBar filters={filters} onChange={change} />
      {list.failure !== null && <Failure failure={list.failure} onRetry={list.reload} />}
      {list.items === null && list.isLoading && <Loading label="Loading logs" />}
      {list.items?.length === 0 && (
        <Empty icon="logs" title="No entries">
          {hasFilters(filters)
            ? 'Nothing matches these filters.'
            : 'Once images are generated, what the Workers log appears here.'}
        </Empty>
      )}
      {list.items !== null && list.items.length > 0 && (
        <>
          <LogList entries={list.items} onOpen={setOpened} />
          <LoadMore
            shown={list.items.length}
            noun={list.items.length === 1 ? 'entry' : 'entries'}
            hasMore={list.hasMore}
            isLoading={list.isLoadingMore}
            failure={list.moreFailure}
            onMore={list.more}
          />
        </>
      )}
      {opened !== null && (
        <EntryDrawer
          entry={opened}
          onOpen={setOpened}
          onFilterRequest={() => filterRequest(opened)}
          onClose={() => setOpened(null)}
        />
      )}
    </>
  );
}
