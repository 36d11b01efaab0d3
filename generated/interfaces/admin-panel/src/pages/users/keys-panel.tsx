// The API keys of a user: generated, shown once, revoked.
import { useState } from 'react';
import type { ApiKey, CreatedApiKey, User } from '../../api/types';
import { useAnnounce } from '../../components/announcer';
import { ConfirmDialog } from '../../components/dialog';
import { Badge, Button, Mono, Panel } from '../../components/elements';
import { Failure, Loading, LoadMore } from '../../components/states';
import { formatDate, formatDateTime } from '../../format';
import { usePagedList } from '../../hooks/use-paged-list';
import { useSession } from '../../session/session';
import { KeyShownDialog, NewKeyDialog } from './new-key-dialogs';

type KeyState = 'active' | 'revoked' | 'expired';

function stateOf({ revoked_at, expires_at }: ApiKey): KeyState {
  if (revoked_at !== null) {
    return 'revoked';
  }
  return expires_at !== null && Date.parse(expires_at) <= Date.now() ? 'expired' : 'active';
}

function KeyRow({
  apiKey,
  isOwn,
  onRevoke,
}: {
  apiKey: ApiKey;
  isOwn: boolean;
  onRevoke: () => void;
}) {
  const state = stateOf(apiKey);
  const label = apiKey.name === '' ? 'Unnamed key' : apiKey.name;
  const { created_at, expires_at, key_prefix, last_used_at } = apiKey;
  return (
    <li className="flex flex-wrap items-center justify-between gap-3 py-3">
      <div className="min-w-0">
        <p className="flex flex-wrap items-center gap-2">
          <span className="font-medium break-all">{label}</span>
          {state !== 'active' && <Badge tone="warning">{state}</Badge>}
          {isOwn && <Badge tone="info">in use here</Badge>}
        </p>
        <p className="mt-0.5 text-sm text-muted">
          <Mono>{key_prefix}…</Mono> · created {formatDate(created_at)} ·{' '}
          {last_used_at === null ? 'never used' : `last used ${formatDateTime(last_used_at)}`}
          {expires_at !== null && state === 'active' && ` · expires ${formatDateTime(expires_at)}`}
        </p>
      </div>
      {state === 'active' && (
        <Button small aria-label={`Revoke ${label} ${key_prefix}`} onClick={onRevoke}>
          Revoke
        </Button>
      )}
    </li>
  );
}

export function KeysPanel({ user }: { user: User }) {
  const { client, me } = useSession();
  const announce = useAnnounce();
  const [isAsking, setAsking] = useState(false);
  const [created, setCreated] = useState<CreatedApiKey | null>(null);
  const [revoked, setRevoked] = useState<ApiKey | null>(null);
  const list = usePagedList(`keys ${user.user_id}`, (current, cursor, signal) =>
    current.userKeys(user.user_id, { cursor }, signal),
  );

  return (
    <Panel
      title="API keys"
      description="A key is shown once, when it is generated. Only its hash is stored."
      action={
        <Button icon="key" onClick={() => setAsking(true)}>
          Generate key
        </Button>
      }
    >
      {list.failure !== null && <Failure failure={list.failure} onRetry={list.reload} compact />}
      {list.items === null && list.isLoading && <Loading label="Loading keys" rows={1} />}
      {list.items?.length === 0 && <p className="text-sm text-muted">No key so far.</p>}
      {list.items !== null && list.items.length > 0 && (
        <ul className="divide-y divide-line">
          {list.items.map((apiKey) => (
            <KeyRow
              key={apiKey.key_id}
              apiKey={apiKey}
              isOwn={apiKey.key_id === me.key_id}
              onRevoke={() => setRevoked(apiKey)}
            />
          ))}
        </ul>
      )}
      {list.hasMore && (
        <LoadMore
          shown={list.items?.length ?? 0}
          noun="keys"
          hasMore={list.hasMore}
          isLoading={list.isLoadingMore}
          failure={list.moreFailure}
          onMore={list.more}
        />
      )}
      {isAsking && (
        <NewKeyDialog
          user={user}
          onClose={() => setAsking(false)}
          onCreated={(key) => {
            setAsking(false);
            setCreated(key);
            list.reload();
          }}
        />
      )}
      {created !== null && (
        <KeyShownDialog apiKey={created} email={user.email} onClose={() => setCreated(null)} />
      )}
      {revoked !== null && (
        <ConfirmDialog
          title="Revoke this key?"
          confirmLabel="Revoke key"
          onClose={() => setRevoked(null)}
          onConfirm={async () => {
            await client.revokeKey(revoked.key_id);
            announce('Key revoked');
            setRevoked(null);
            list.reload();
          }}
        >
          <p>
            <Mono>{revoked.key_prefix}…</Mono> stops working at once, for good.
            {revoked.key_id === me.key_id && (
              <strong> It is the key that you are logged in with.</strong>
            )}
          </p>
        </ConfirmDialog>
      )}
    </Panel>
  );
}
