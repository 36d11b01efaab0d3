// One user: who it is, which instances it may use, and its API keys.
import { useState } from 'react';
import { useNavigate, useParams } from 'react-router';
import type { User } from '../../api/types';
import { useAnnounce } from '../../components/announcer';
import { ConfirmDialog } from '../../components/dialog';
import { Button, LinkButton, Mono, Panel } from '../../components/elements';
import { PageTitle } from '../../components/shell';
import { Failure, Loading } from '../../components/states';
import { WORK_IS_DONE } from '../../components/unsaved-guard';
import { formatDate, plural } from '../../format';
import { useResource } from '../../hooks/use-resource';
import { useSession } from '../../session/session';
import { AccessPanel } from './access-panel';
import { KeysPanel } from './keys-panel';
import { RoleBadge } from './role';
import { UserForm } from './user-form';

function DeleteUser({ user, isSelf }: { user: User; isSelf: boolean }) {
  const { client } = useSession();
  const navigate = useNavigate();
  const announce = useAnnounce();
  const [isAsking, setAsking] = useState(false);
  return (
    <Panel
      tone="danger"
      title="Delete this user"
      description={
        isSelf ? 'Nobody deletes their own account.' : 'Its API keys stop working at once.'
      }
      action={
        <Button tone="danger" icon="trash" disabled={isSelf} onClick={() => setAsking(true)}>
          Delete user
        </Button>
      }
    >
      {isAsking && (
        <ConfirmDialog
          title={`Delete ${user.email}?`}
          confirmLabel="Delete user"
          onClose={() => setAsking(false)}
          onConfirm={async () => {
            await client.deleteUser(user.user_id);
            announce(`${user.email} deleted`);
            await navigate('/users', { state: WORK_IS_DONE });
          }}
        >
          <p>
            All its API keys and its access to {plural(user.instances.length, 'instance')} go with
            it. What it used stays on record for billing.
          </p>
        </ConfirmDialog>
      )}
    </Panel>
  );
}

function Details({ user, onChanged }: { user: User; onChanged: (user: User) => void }) {
  const { me, isSuperadmin } = useSession();
  const isSelf = user.user_id === me.user_id;
  // An admin sees a superadmin, and may change nothing of it.
  const mayManage = isSuperadmin || user.role !== 'superadmin';
  return (
    <div className="space-y-6">
      {!mayManage && (
        <p className="rounded-xl bg-info-soft p-4 text-sm text-info">
          This is a superadmin: only superadmins change the account and its keys.
        </p>
      )}
      {mayManage && <UserForm user={user} isSelf={isSelf} onSaved={onChanged} />}
      <AccessPanel user={user} onChanged={onChanged} />
      {mayManage && <KeysPanel user={user} />}
      {mayManage && <DeleteUser user={user} isSelf={isSelf} />}
    </div>
  );
}

export function UserPage() {
  const { userId = '' } = useParams();
  const { value, failure, isLoading, reload, replace } = useResource(
    `user ${userId}`,
    (client, signal) => client.user(userId, signal),
  );
  return (
    <>
      <PageTitle
        title={value?.email ?? 'User'}
        back={{ to: '/users', label: 'Users' }}
        subtitle={
          value !== null && (
            <span className="flex flex-wrap items-center gap-x-2 gap-y-1">
              <RoleBadge role={value.role} /> {value.org_id} · created{' '}
              {formatDate(value.created_at)} · <Mono>{value.user_id}</Mono>
            </span>
          )
        }
        action={
          <LinkButton to={`/logs?user_id=${encodeURIComponent(userId)}`} icon="logs">
            Logs
          </LinkButton>
        }
      />
      {failure !== null && <Failure failure={failure} onRetry={reload} />}
      {value === null && isLoading && <Loading label="Loading the user" />}
      {value !== null && <Details key={value.user_id} user={value} onChanged={replace} />}
    </>
  );
}
