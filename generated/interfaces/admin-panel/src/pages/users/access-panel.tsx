// Which instances a user may use: given with a choice, withdrawn after a question.
import { type FormEvent, useState } from 'react';
import { Link } from 'react-router';
import type { User } from '../../api/types';
import { useAnnounce } from '../../components/announcer';
import { ConfirmDialog } from '../../components/dialog';
import { Button, Panel } from '../../components/elements';
import { Field } from '../../components/field';
import { Failure } from '../../components/states';
import { useResource } from '../../hooks/use-resource';
import { useSubmission } from '../../hooks/use-submission';
import { useSession } from '../../session/session';

export function AccessPanel({ user, onChanged }: { user: User; onChanged: (user: User) => void }) {
  const { client } = useSession();
  const announce = useAnnounce();
  const submission = useSubmission();
  const [chosen, setChosen] = useState('');
  const [withdrawn, setWithdrawn] = useState<string | null>(null);
  const instances = useResource(`instances of ${user.org_id}`, (current, signal) =>
    current.all((query) => current.instances({ ...query, org_id: user.org_id }, signal)),
  );
  const nameOf = (id: string) =>
    instances.value?.find(({ instance_id }) => instance_id === id)?.name ?? id;
  const grantable = (instances.value ?? []).filter(
    ({ instance_id }) => !user.instances.includes(instance_id),
  );

  const give = (event: FormEvent) => {
    event.preventDefault();
    if (chosen === '') {
      return;
    }
    void submission.run(async () => {
      await client.giveAccess(chosen, user.user_id);
      announce(`Access to ${nameOf(chosen)} given`);
      setChosen('');
      onChanged({ ...user, instances: [...user.instances, chosen].toSorted() });
    });
  };

  return (
    <Panel
      title="Access to instances"
      description={
        user.role === 'user'
          ? undefined
          : 'The role reaches every instance of the organisation already.'
      }
    >
      {instances.failure !== null && (
        <Failure failure={instances.failure} onRetry={instances.reload} compact />
      )}
      {user.instances.length === 0 && (
        <p className="text-sm text-muted">No instance has been given to this user.</p>
      )}
      <ul className="divide-y divide-line">
        {user.instances.map((id) => (
          <li key={id} className="flex items-center justify-between gap-3 py-2">
            <Link
              to={`/instances/id/${id}`}
              className="min-w-0 font-medium break-words underline-offset-2 hover:underline"
            >
              {nameOf(id)}
            </Link>
            <Button
              small
              aria-label={`Withdraw access to ${nameOf(id)}`}
              onClick={() => setWithdrawn(id)}
            >
              Withdraw
            </Button>
          </li>
        ))}
      </ul>
      {grantable.length > 0 && (
        <form onSubmit={give} className="mt-4 flex flex-wrap items-end gap-3">
          <Field label="Give access to" className="min-w-52 flex-1 sm:max-w-sm">
            {(control) => (
              <select
                {...control}
                className="control"
                value={chosen}
                onChange={(event) => setChosen(event.target.value)}
              >
                <option value="">Choose an instance</option>
                {grantable.map(({ instance_id, name }) => (
                  <option key={instance_id} value={instance_id}>
                    {name}
                  </option>
                ))}
              </select>
            )}
          </Field>
          <Button type="submit" disabled={chosen === '' || submission.isBusy}>
            Give access
          </Button>
        </form>
      )}
      {submission.failure !== null && (
        <div className="mt-4">
          <Failure failure={submission.failure} compact />
        </div>
      )}
      {withdrawn !== null && (
        <ConfirmDialog
          title={`Withdraw access to ${nameOf(withdrawn)}?`}
          confirmLabel="Withdraw access"
          onClose={() => setWithdrawn(null)}
          onConfirm={async () => {
            await client.withdrawAccess(withdrawn, user.user_id);
            announce(`Access to ${nameOf(withdrawn)} withdrawn`);
            onChanged({ ...user, instances: user.instances.filter((id) => id !== withdrawn) });
            setWithdrawn(null);
          }}
        >
          <p>{user.email} can no longer generate images there. Its API keys stay.</p>
        </ConfirmDialog>
      )}
    </Panel>
  );
}
