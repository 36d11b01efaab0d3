// Sending a form: once at a time, with what went wrong at hand.
import { useState } from 'react';
import { type ApiFailure, asFailure } from '../api/failure';

export interface Submission {
  isBusy: boolean;
  failure: ApiFailure | null;
  /** Whether it worked. A failure is kept, and given to `onFailure` for what belongs at a field. */
  run: (work: () => Promise<void>, onFailure?: (failure: ApiFailure) => void) => Promise<boolean>;
  clear: () => void;
}

export function useSubmission(): Submission {
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<ApiFailure | null>(null);

  const run: Submission['run'] = async (work, onFailure) => {
    if (isBusy) {
      return false;
    }
    setBusy(true);
    setFailure(null);
    try {
      await work();
      return true;
    } catch (error) {
      const reason = asFailure(error);
      setFailure(reason);
      onFailure?.(reason);
      return false;
    } finally {
      setBusy(false);
    }
  };

  return { isBusy, failure, run, clear: () => setFailure(null) };
}
