// The form of a new user.
import { type FormEvent, useRef, useState } from 'react';
import { useNavigate } from 'react-router';
import type { Role } from '../../api/types';
import { useAnnounce } from '../../components/announcer';
import { Button, LinkButton, Panel } from '../../components/elements';
import { Field, focusFirstInvalid } from '../../components/field';
import { useOrganizations } from '../../components/organization-filter';
import { PageTitle } from '../../components/shell';
import { Failure } from '../../components/states';
import { UnsavedGuard, WORK_IS_DONE } from '../../components/unsaved-guard';
import { emailProblem } from '../../forms/rules';
import { useSubmission } from '../../hooks/use-submission';
import { useSession } from '../../session/session';
import { RoleField, rolesFor } from './role';

export function NewUserPage() {
  const { client, me, isSuperadmin } = useSession();
  const navigate = useNavigate();
  const announce = useAnnounce();
  const organizations = useOrganizations();
  const submission = useSubmission();
  const form = useRef<HTMLFormElement>(null);
  const [email, setEmail] = useState('');
  const [role, setRole] = useState<Role>('user');
  const [orgId, setOrgId] = useState(me.org_id);
  const [problem, setProblem] = useState<string>();

  const show = (message: string | undefined) => {
    setProblem(message);
    focusFirstInvalid(form.current);
  };

  const submit = (event: FormEvent) => {
    event.preventDefault();
    const found = emailProblem(email);
    show(found);
    if (found !== undefined) {
      return;
    }
    void submission.run(
      async () => {
        const created = await client.createUser({ email: email.trim(), org_id: orgId, role });
        announce(`${created.email} created`);
        await navigate(`/users/id/${created.user_id}`, { state: WORK_IS_DONE });
      },
      (failure) => {
        if (failure.code === 'CONFLICT' || failure.message.startsWith('email:')) {
          show(failure.message.replace(/^email: /, ''));
        }
      },
    );
  };

  return (
    <>
      <PageTitle
        title="New user"
        back={{ to: '/users', label: 'Users' }}
        subtitle="Access to instances and API keys are given on the next page."
      />
      <UnsavedGuard isDirty={email !== ''} />
      <form ref={form} noValidate onSubmit={submit} className="max-w-xl">
        <Panel>
          <div className="space-y-5">
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
              error={undefined}
              onChange={setRole}
            />
            {organizations.length > 1 && (
              <Field label="Organisation">
                {(control) => (
                  <select
                    {...control}
                    className="control"
                    value={orgId}
                    onChange={(event) => setOrgId(event.target.value)}
                  >
                    {organizations.map(({ org_id, name }) => (
                      <option key={org_id} value={org_id}>
                        {name}
                      </option>
                    ))}
                  </select>
                )}
              </Field>
            )}
          </div>
        </Panel>
        {submission.failure !== null && (
          <div className="mt-4">
            <Failure failure={submission.failure} compact />
          </div>
        )}
        <div className="mt-5 flex gap-3">
          <Button type="submit" tone="primary" disabled={submission.isBusy}>
            {submission.isBusy ? 'Creating…' : 'Create user'}
          </Button>
          <LinkButton to="/users">Cancel</LinkButton>
        </div>
      </form>
    </>
  );
}
