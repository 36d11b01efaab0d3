// Generating a key, and the one time that it is shown.
import { type FormEvent, useRef, useState } from 'react';
import type { CreatedApiKey, NewApiKey, User } from '../../api/types';
import { CopyButton } from '../../components/copy-button';
import { Dialog, DialogActions } from '../../components/dialog';
import { Button } from '../../components/elements';
import { Field, focusFirstInvalid } from '../../components/field';
import { Failure } from '../../components/states';
import { useSubmission } from '../../hooks/use-submission';
import { useSession } from '../../session/session';

const NAME_MAX = 100;
const DAY_MILLISECONDS = 24 * 60 * 60 * 1000;

const LIFETIMES = [
  { label: 'Never', days: 0 },
  { label: 'In 30 days', days: 30 },
  { label: 'In 90 days', days: 90 },
  { label: 'In a year', days: 365 },
] as const;

function newKeyOf(name: string, days: number): NewApiKey {
  return {
    ...(name === '' ? {} : { name }),
    ...(days === 0
      ? {}
      : { expires_at: new Date(Date.now() + days * DAY_MILLISECONDS).toISOString() }),
  };
}

export function NewKeyDialog({
  user,
  onCreated,
  onClose,
}: {
  user: User;
  onCreated: (key: CreatedApiKey) => void;
  onClose: () => void;
}) {
  const { client } = useSession();
  const submission = useSubmission();
  const form = useRef<HTMLFormElement>(null);
  const [name, setName] = useState('');
  const [days, setDays] = useState(0);
  const [problem, setProblem] = useState<string>();

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (name.trim().length > NAME_MAX) {
      setProblem(`A name may have ${NAME_MAX} characters.`);
      focusFirstInvalid(form.current);
      return;
    }
    void submission.run(async () => {
      onCreated(await client.createUserKey(user.user_id, newKeyOf(name.trim(), days)));
    });
  };

  return (
    <Dialog title={`New key for ${user.email}`} onClose={onClose}>
      <form ref={form} noValidate onSubmit={submit} className="space-y-4">
        <Field label="Name (optional)" hint="What the key is for." error={problem}>
          {(control) => (
            <input
              {...control}
              className="control"
              value={name}
              autoComplete="off"
              onChange={(event) => setName(event.target.value)}
            />
          )}
        </Field>
        <Field label="Expires">
          {(control) => (
            <select
              {...control}
              className="control"
              value={days}
              onChange={(event) => setDays(Number(event.target.value))}
            >
              {LIFETIMES.map((lifetime) => (
                <option key={lifetime.days} value={lifetime.days}>
                  {lifetime.label}
                </option>
              ))}
            </select>
          )}
        </Field>
        {submission.failure !== null && <Failure failure={submission.failure} compact />}
        <DialogActions>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" disabled={submission.isBusy}>
            {submission.isBusy ? 'Generating…' : 'Generate'}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

export function KeyShownDialog({
  apiKey,
  email,
  onClose,
}: {
  apiKey: CreatedApiKey;
  email: string;
  onClose: () => void;
}) {
  return (
    // No way out but the button: who leaves by accident has lost the key.
    <Dialog title="Copy this key now">
      <p className="text-[0.9375rem]">
        It is shown this once, for {email}. Nobody can bring it back; if it is lost, generate
        another.
      </p>
      <output
        aria-label="The new key"
        className="mt-4 block rounded-lg border border-line bg-sunken p-3 font-mono text-sm break-all select-all"
      >
        {apiKey.key}
      </output>
      <div className="mt-5 flex flex-wrap items-center justify-between gap-3">
        <CopyButton text={apiKey.key} label="Copy key" tone="primary" />
        <Button onClick={onClose}>I have stored it</Button>
      </div>
    </Dialog>
  );
}
