// Asks for an administrator's key.
import { useEffect, useRef, useState } from 'react';

/** What a header can carry; `fetch` would throw on the rest, which would look like an unreachable service. */
const SENDABLE = /^[\x21-\x7e]+$/;

interface Props {
  message: string | null;
  checking: boolean;
  onKey: (key: string) => void;
}

export function KeyForm({ message, checking, onKey }: Props) {
  const field = useRef<HTMLInputElement>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => field.current?.focus(), []);

  const submit = () => {
    const key = field.current?.value.trim() ?? '';
    if (SENDABLE.test(key)) {
      setProblem(null);
      onKey(key);
      return;
    }
    setProblem(key === '' ? 'Enter a key.' : 'This holds characters that no key has.');
    field.current?.focus();
  };

  const shown = problem ?? message;
  return (
    <form
      className="card w-full max-w-sm p-6"
      method="post"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <img src="/favicon.svg" alt="" width={40} height={40} />
      <h1 className="mt-4 text-xl font-semibold tracking-tight">Monitoring</h1>
      <p className="mt-1 text-sm text-muted">How healthy the system is, and how much it is used.</p>
      <label htmlFor="key" className="mt-5 block text-sm font-semibold">
        API key of an administrator
      </label>
      {/* Without a name, so that no form could ever put it into an address. */}
      <input
        id="key"
        ref={field}
        type="password"
        autoComplete="off"
        spellCheck={false}
        required
        placeholder="mas_…"
        aria-invalid={shown !== null}
        aria-describedby="key-hint key-problem"
        className="mt-1.5 block min-h-10 w-full rounded-lg border border-edge bg-surface px-3 font-mono text-[0.9375rem] placeholder:text-muted/75 aria-invalid:border-danger"
      />
      <p
        id="key-problem"
        role="alert"
        className="mt-1.5 text-sm font-medium text-danger empty:hidden"
      >
        {shown}
      </p>
      <p id="key-hint" className="mt-1.5 text-[0.8125rem] text-muted">
        Kept until this tab is closed.
      </p>
      <button
        type="submit"
        disabled={checking}
        className="action action-primary mt-5 min-h-11 w-full"
      >
        {checking ? 'Checking…' : 'Show the dashboard'}
      </button>
    </form>
  );
}
