// Edits e-mail and role of a user.
import { type FormEvent, useRef, useState } from 'react';
import type { User, UserChange } from '../../api/types';
import { useAnnounce } from '../../components/announcer';
import { Button, Panel } from '../../components/elements';
import { Field, focusFirstInvalid } from '../../components/field';
import { Failure } from '../../components/states';
import { UnsavedGuard } from '../../components/unsaved-guard';
import { emailProblem } from '../../forms/rules';
import { useSubmission } from '../../hooks/use-submission';
import { useSession } from '../../session/session';
import { RoleField, rolesFor } from './role';

export function UserForm({
  user,
  isSelf,
  onSaved,
}: {
  user: User;
  isSelf: boolean;
  onSaved: (user: User) => void;
}) {
  const { client, isSuperadmin } = useSession();
  const announce = useAnnounce();
  const submission = useSubmission();
  const form = useRef<HTMLFormElement>(null);
  const [email, setEmail] = useState(user.email);
  const [role, setRole] = useState(user.role);
  const [problem, setProblem] = useState<string>();

  const change: UserChange = {
    ...(email.trim().toLowerCase() === user.email ? {} : { email: email.trim() }),
    ...(role === user.role ? {} : { role }),
  };
  const isDirty = Object.keys(change).length > 0;

  const show = (message: string | undefined) => {
    setProblem(message);
    focusFirstInvalid(form.current);
  };

  const submit = (event: FormEvent) => {
    event.preventDefault();
    const found = emailProblem(email);
    show(found);
    if (found !== undefined || !isDirty) {
      return;
    }
    void submission.run(
      async () => {
        const saved = await client.changeUser(user.user_id, change);
        setEmail(saved.email);
        announce('Changes saved');
        onSaved(saved);
      },
      (failure) => {
        if (failure.code === 'CONFLICT' || failure.message.startsWith('email:')) {
          show(failure.message.replace(/^email: /, ''));
        }
      },
    );
  };

  return (
    <Panel title="Account">
      <UnsavedGuard isDirty={isDirty} />
      <form ref={form} noValidate onSubmit={submit} className="space-y-5">
        <div className="grid gap-5 sm:grid-cols-2">
          <Field label="E-mail" error={problem}>
            {(control) => (
              <input
                {...control}
                className="control"
                type="email"
                value={email}
                autoComplete="off"
                autoCapitalize="none"
                spellCheck={false}
                onChange={(event) => setEmail(event.target.value)}
              />
            )}
          </Field>
          <RoleField
            value={role}
            choices={rolesFor(isSuperadmin)}
            disabledBecause={isSelf ? 'Nobody changes their own role.' : undefined}
            error={undefined}
            onChange={setRole}
          />
        </div>
        {submission.failure !== null && <Failure failure={submission.failure} compact />}
        <Button type="submit" tone="primary" disabled={!isDirty || submission.isBusy}>
          {submission.isBusy ? 'Saving…' : 'Save changes'}
        </Button>
      </form>
    </Panel>
  );
}
