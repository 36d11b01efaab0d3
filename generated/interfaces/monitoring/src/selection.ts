// Which instances and which time the page shows; kept in its address, so that a view can be shared.
import { useCallback, useEffect, useState } from 'react';
import { RANGES, type Range } from './metrics';

export interface Selection {
  range: Range;
  /** Sorted; empty: all. */
  instanceIds: string[];
}

const DEFAULT_RANGE: Range = 'hour';

export function readSelection(search: string): Selection {
  const parameters = new URLSearchParams(search);
  const range = RANGES.find((known) => known === parameters.get('range')) ?? DEFAULT_RANGE;
  const named = (parameters.get('instance_id') ?? '').split(',').filter((id) => id !== '');
  return { range, instanceIds: [...new Set(named)].sort() };
}

export function writeSelection({ range, instanceIds }: Selection): string {
  const parameters = new URLSearchParams();
  if (range !== DEFAULT_RANGE) {
    parameters.set('range', range);
  }
  if (instanceIds.length > 0) {
    parameters.set('instance_id', [...instanceIds].sort().join(','));
  }
  // Identifiers and commas need no escaping, and read better without.
  const text = parameters.toString().replaceAll('%2C', ',');
  return text === '' ? '' : `?${text}`;
}

export function useSelection(): [Selection, (selection: Selection) => void] {
  const [selection, setSelection] = useState(() => readSelection(location.search));
  useEffect(() => {
    const follow = () => setSelection(readSelection(location.search));
    addEventListener('popstate', follow);
    return () => removeEventListener('popstate', follow);
  }, []);
  const choose = useCallback((next: Selection) => {
    history.pushState(null, '', `${location.pathname}${writeSelection(next)}`);
    setSelection(next);
  }, []);
  return [selection, choose];
}
