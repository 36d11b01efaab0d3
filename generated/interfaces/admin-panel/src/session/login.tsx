// Getting in with an API key.
import { type FormEvent, type ReactNode, useRef, useState } from 'react';
import { type ApiFailure, asFailure } from '../api/failure';
import { Button } from '../components/elements';
import { Field, focusFirstInvalid } from '../components/field';
import { BrandMark } from '../components/icons';
import { Failure } from '../components/states';
import { ThemeSwitch } from '../components/theme-switch';

/** What a header can carry; anything else would not even leave the browser. */
const SENDABLE_KEY = /^[!-~]{1,512}$/;

export function LoginForm({ onLogIn }: { onLogIn: (key: string) => Promise<void> }) {
  const [key, setKey] = useState('');
  const [isVisible, setVisible] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [keyError, setKeyError] = useState<string>();
  const [failure, setFailure] = useState<ApiFailure | null>(null);
  const form = useRef<HTMLFormElement>(null);

  const refuse = (message: string) => {
    setKeyError(message);
    focusFirstInvalid(form.current);
  };

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const entered = key.trim();
    setFailure(null);
    setKeyError(undefined);
    if (!SENDABLE_KEY.test(entered)) {
      refuse(entered === '' ? 'Enter your API key.' : 'This is not an API key.');
      return;
    }
    setBusy(true);
    try {
      await onLogIn(entered);
    } catch (error) {
      setBusy(false);
      const reason = asFailure(error);
      if (reason.code === 'AUTH_FAILED') {
        refuse('This key is not valid. It may have been revoked, or have expired.');
      } else if (reason.kind === 'unexpected' && reason.status === null) {
        refuse(reason.message);
      } else {
        setFailure(reason);
      }
    }
  };

  return (
    <form ref={form} noValidate onSubmit={(event) => void submit(event)} className="space-y-4">
      <Field label="API key" error={keyError}>
        {(control) => (
          <div className="relative">
            <input
              {...control}
              className="control pr-16 font-mono"
              type={isVisible ? 'text' : 'password'}
              value={key}
              placeholder="mas_…"
              autoComplete="off"
              autoCapitalize="none"
              spellCheck={false}
              onChange={(event) => setKey(event.target.value)}
            />
            <button
              type="button"
              aria-pressed={isVisible}
              aria-label="Show the key"
              onClick={() => setVisible(!isVisible)}
              className="absolute inset-y-1 right-1 rounded-md px-2.5 text-sm font-medium text-muted hover:bg-sunken hover:text-ink"
            >
              {isVisible ? 'Hide' : 'Show'}
            </button>
          </div>
        )}
      </Field>
      {failure !== null && <Failure failure={failure} compact />}
      <Button type="submit" tone="primary" className="w-full" disabled={isBusy}>
        {isBusy ? 'Checking…' : 'Log in'}
      </Button>
    </form>
  );
}

function Centered({ children }: { children: ReactNode }) {
  return (
    <div className="flex min-h-dvh flex-col">
      <div className="flex justify-end p-4">
        <ThemeSwitch />
      </div>
      <main className="mx-auto flex w-full max-w-sm flex-1 flex-col justify-center px-5 pb-28">
        <BrandMark className="mb-5 size-12" />
        {children}
      </main>
    </div>
  );
}

export function LoginPage({ notice, children }: { notice: string | null; children: ReactNode }) {
  return (
    <Centered>
      <title>Log in · Admin panel</title>
      <h1 className="text-2xl font-semibold tracking-tight">Admin panel</h1>
      <p className="mt-1.5 mb-6 text-muted">
        For administrators. Log in with your API key; it stays in this tab and is forgotten when you
        log out.
      </p>
      {notice !== null && (
        <p role="status" className="mb-4 rounded-lg bg-warning-soft px-3 py-2 text-sm text-warning">
          {notice}
        </p>
      )}
      {children}
    </Centered>
  );
}

export function RestoringPage() {
  return (
    <Centered>
      <p role="status" className="text-muted">
        Checking your key…
      </p>
    </Centered>
  );
}

export function RestoreFailedPage({
  failure,
  onRetry,
  onLogOut,
}: {
  failure: ApiFailure;
  onRetry: () => void;
  onLogOut: () => void;
}) {
  return (
    <Centered>
      <h1 className="mb-4 text-2xl font-semibold tracking-tight">Admin panel</h1>
      <Failure failure={failure} onRetry={onRetry} />
      <Button tone="quiet" className="mt-3" icon="logout" onClick={onLogOut}>
        Log out
      </Button>
    </Centered>
  );
}
