// Dialogs on the browser's own <dialog>, which holds the focus inside and gives it back afterwards.
import {
  type FormEvent,
  type ReactNode,
  type SyntheticEvent,
  useId,
  useLayoutEffect,
  useRef,
  useState,
} from 'react';
import { type ApiFailure, asFailure } from '../api/failure';
import { Button } from './elements';
import { Field } from './field';
import { Icon } from './icons';
import { Failure } from './states';

const SHAPES = {
  modal:
    'enters m-auto w-[min(34rem,calc(100vw-2rem))] max-h-[calc(100dvh-2rem)] rounded-2xl border border-line',
  drawer:
    'enters-from-right my-0 mr-0 ml-auto h-dvh max-h-none w-[min(42rem,100vw)] max-w-none border-l border-line',
} as const;

export function Dialog({
  title,
  shape = 'modal',
  onClose,
  children,
}: {
  title: string;
  shape?: keyof typeof SHAPES;
  /** Left out where leaving needs a decision. */
  onClose?: () => void;
  children: ReactNode;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();

  // A layout effect: its end comes before the element leaves the page, so that closing can give the focus back.
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);

  const cancel = (event: SyntheticEvent) => {
    event.preventDefault();
    onClose?.();
  };

  return (
    <dialog
      ref={dialog}
      aria-labelledby={titleId}
      onCancel={cancel}
      className={`flex-col overflow-hidden bg-surface text-ink shadow-float open:flex ${SHAPES[shape]}`}
    >
      <div className="flex items-start justify-between gap-4 border-b border-line px-5 py-4">
        <h2 id={titleId} className="text-lg font-semibold break-words">
          {title}
        </h2>
        {onClose !== undefined && (
          <button
            type="button"
            aria-label="Close"
            onClick={onClose}
            className="-m-1.5 rounded-lg p-1.5 text-muted hover:bg-sunken hover:text-ink"
          >
            <Icon name="close" />
          </button>
        )}
      </div>
      <div className="min-h-0 flex-1 overflow-y-auto px-5 py-4">{children}</div>
    </dialog>
  );
}

export function DialogActions({ children }: { children: ReactNode }) {
  return <div className="mt-5 flex flex-wrap justify-end gap-3">{children}</div>;
}

/** Asks before something is destroyed, says what goes with it, and stays open if it fails. */
export function ConfirmDialog({
  title,
  children,
  confirmLabel,
  typedName,
  onConfirm,
  onClose,
}: {
  title: string;
  children: ReactNode;
  confirmLabel: string;
  /** What has to be typed first. */
  typedName?: string;
  onConfirm: () => Promise<void>;
  onClose: () => void;
}) {
  const [typed, setTyped] = useState('');
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<ApiFailure | null>(null);
  const isReady = typedName === undefined || typed.trim() === typedName;

  const confirm = async (event: FormEvent) => {
    event.preventDefault();
    if (!isReady || isBusy) {
      return;
    }
    setBusy(true);
    setFailure(null);
    try {
      await onConfirm();
    } catch (error) {
      setFailure(asFailure(error));
      setBusy(false);
    }
  };

  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={(event) => void confirm(event)}>
        <div className="space-y-2 text-[0.9375rem]">{children}</div>
        {typedName !== undefined && (
          <Field label={`Type “${typedName}” to confirm`} className="mt-4">
            {(control) => (
              <input
                {...control}
                className="control"
                value={typed}
                autoComplete="off"
                onChange={(event) => setTyped(event.target.value)}
              />
            )}
          </Field>
        )}
        {failure !== null && (
          <div className="mt-4">
            <Failure failure={failure} compact />
          </div>
        )}
        <DialogActions>
          <Button onClick={onClose}>Cancel</Button>
          <Button tone="danger" type="submit" disabled={!isReady || isBusy}>
            {isBusy ? 'Working…' : confirmLabel}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
