// A list that grows page by page, by the cursors of the contract.
import { useState } from 'react';
import type { ApiClient } from '../api/client';
import { type ApiFailure, asFailure } from '../api/failure';
import type { Page } from '../api/types';
import { useSession } from '../session/session';
import { useResource } from './use-resource';

export interface PagedList<Item> {
  items: Item[] | null;
  hasMore: boolean;
  failure: ApiFailure | null;
  isLoading: boolean;
  isLoadingMore: boolean;
  moreFailure: ApiFailure | null;
  more: () => void;
  reload: () => void;
}

export function usePagedList<Item>(
  key: string,
  loadPage: (
    client: ApiClient,
    cursor: string | undefined,
    signal?: AbortSignal,
  ) => Promise<Page<Item>>,
): PagedList<Item> {
  const { client } = useSession();
  const first = useResource(key, (current, signal) => loadPage(current, undefined, signal));
  // Tied to the first page that they follow: when that is loaded anew, they are gone.
  const [rest, setRest] = useState<{ of: Page<Item> | null; pages: Page<Item>[] }>({
    of: null,
    pages: [],
  });
  const [moreFailure, setMoreFailure] = useState<ApiFailure | null>(null);
  const [isLoadingMore, setLoadingMore] = useState(false);

  const pages =
    first.value === null ? [] : [first.value, ...(rest.of === first.value ? rest.pages : [])];
  const cursor = pages.at(-1)?.next_cursor ?? null;

  const loadMore = async (after: string) => {
    setLoadingMore(true);
    setMoreFailure(null);
    try {
      const page = await loadPage(client, after);
      setRest({ of: first.value, pages: [...pages.slice(1), page] });
    } catch (error) {
      setMoreFailure(asFailure(error));
    } finally {
      setLoadingMore(false);
    }
  };

  return {
    items: first.value === null ? null : pages.flatMap((page) => page.items),
    hasMore: cursor !== null,
    failure: first.failure,
    isLoading: first.isLoading,
    isLoadingMore,
    moreFailure,
    more: () => {
      if (cursor !== null && !isLoadingMore) {
        void loadMore(cursor);
      }
    },
    reload: first.reload,
  };
}
