// Asks before a page with unsaved changes is left.
import { useEffect } from 'react';
import { useBlocker } from 'react-router';
import { Dialog, DialogActions } from './dialog';
import { Button } from './elements';

/** The state of a navigation that ends the work on a page: what was unsaved is saved, or gone with what was deleted. */
export const WORK_IS_DONE = { isWorkDone: true } as const;

const isWorkDone = (state: unknown): boolean =>
  typeof state === 'object' && state !== null && 'isWorkDone' in state;

export function UnsavedGuard({ isDirty }: { isDirty: boolean }) {
  const blocker = useBlocker(
    ({ currentLocation, nextLocation }) =>
      isDirty &&
      currentLocation.pathname !== nextLocation.pathname &&
      !isWorkDone(nextLocation.state),
  );

  useEffect(() => {
    if (!isDirty) {
      return;
    }
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener('beforeunload', warn);
    return () => window.removeEventListener('beforeunload', warn);
  }, [isDirty]);

  if (blocker.state !== 'blocked') {
    return null;
  }
  return (
    <Dialog title="Leave without saving?" onClose={() => blocker.reset()}>
      <p>What you changed on this page is not saved.</p>
      <DialogActions>
        <Button onClick={() => blocker.reset()}>Stay</Button>
        <Button tone="danger" onClick={() => blocker.proceed()}>
          Discard changes
        </Button>
      </DialogActions>
    </Dialog>
  );
}
