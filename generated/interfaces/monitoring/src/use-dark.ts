// Whether the reader's theme is dark, for what is drawn and not styled.
import { useSyncExternalStore } from 'react';

const QUERY = '(prefers-color-scheme: dark)';

function subscribe(listener: () => void): () => void {
  const query = matchMedia(QUERY);
  query.addEventListener('change', listener);
  return () => query.removeEventListener('change', listener);
}

export const useDark = (): boolean =>
  useSyncExternalStore(subscribe, () => matchMedia(QUERY).matches);
