// The filters of a page, kept in its address so that a view can be shared and the way back works.
import { useCallback } from 'react';
import { useSearchParams } from 'react-router';

export type AddressChange = Record<string, string | null>;

export function useAddress(): {
  get: (name: string) => string;
  change: (change: AddressChange) => void;
} {
  const [parameters, setParameters] = useSearchParams();

  const get = useCallback((name: string) => parameters.get(name) ?? '', [parameters]);

  const change = useCallback(
    (changes: AddressChange) =>
      setParameters((current) => {
        const next = new URLSearchParams(current);
        for (const [name, value] of Object.entries(changes)) {
          if (value === null || value === '') {
            next.delete(name);
          } else {
            next.set(name, value);
          }
        }
        return next;
      }),
    [setParameters],
  );

  return { get, change };
}
