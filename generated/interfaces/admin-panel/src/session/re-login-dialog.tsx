// The key stopped working in the middle of work: a new one is asked for on top of the page, so that nothing typed is lost.
import type { ReactNode } from 'react';
import { Dialog } from '../components/dialog';
import { Button } from '../components/elements';

export function ReLoginDialog({
  onLogOut,
  children,
}: {
  onLogOut: () => void;
  children: ReactNode;
}) {
  return (
    <Dialog title="Log in again">
      <p className="mb-4 text-[0.9375rem] text-muted">
        Your key is no longer accepted. Enter a valid one to go on where you are; what you typed is
        still there.
      </p>
      {children}
      <Button tone="quiet" className="mt-2 w-full" onClick={onLogOut}>
        Log out instead
      </Button>
    </Dialog>
  );
}
