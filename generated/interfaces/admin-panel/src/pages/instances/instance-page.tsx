// One instance: what it does, how it is configured, who may use it.
import { Link, useParams } from 'react-router';
import type { Instance } from '../../api/types';
import { ActivityBars } from '../../components/activity-bars';
import { Badge, LinkButton, Mono, Panel, Tile, Tiles } from '../../components/elements';
import { RANGE_NAMES, RangeSelect, rangeOf } from '../../components/range-select';
import { PageTitle } from '../../components/shell';
import { Failure, Loading, LoadMore } from '../../components/states';
import {
  formatCost,
  formatCount,
  formatDateTime,
  formatMilliseconds,
  formatShare,
} from '../../format';
import { useAddress } from '../../hooks/use-address';
import { usePagedList } from '../../hooks/use-paged-list';
import { useResource } from '../../hooks/use-resource';
import { DeleteInstance } from './delete-instance';
import { EditForm } from './edit-form';

function Activity({ instanceId }: { instanceId: string }) {
  const { get, change } = useAddress();
  const range = rangeOf(get('range'));
  const metrics = useResource(`metrics ${instanceId} ${range}`, (client, signal) =>
    client.metrics({ range, instance_id: instanceId }, signal),
  );
  const series = metrics.value?.series[0];
  const totals = metrics.value?.totals;
  return (
    <Panel
      title="Activity"
      action={<RangeSelect value={range} onChange={(value) => change({ range: value })} />}
    >
      {metrics.failure !== null && (
        <Failure failure={metrics.failure} onRetry={metrics.reload} compact />
      )}
      {metrics.value === null && metrics.isLoading && (
        <Loading label="Loading statistics" rows={1} />
      )}
      {totals !== undefined && series !== undefined && (
        <>
          <Tiles>
            <Tile label="Requests" value={formatCount(totals.requests)} />
            <Tile
              label="Errors"
              value={`${formatCount(totals.errors)}${
                totals.error_rate === null ? '' : ` (${formatShare(totals.error_rate)})`
              }`}
              tone={totals.errors > 0 ? 'danger' : 'plain'}
            />
            <Tile
              label="Rate limited"
              value={formatCount(totals.rate_limited)}
              tone={totals.rate_limited > 0 ? 'warning' : 'plain'}
            />
            <Tile label="Mean response" value={formatMilliseconds(totals.response_ms)} />
            <Tile label="Cost" value={formatCost(totals.cost_microdollars)} />
          </Tiles>
          <div className="mt-5">
            <ActivityBars
              requests={series.requests}
              errors={series.errors}
              period={RANGE_NAMES[range]}
            />
            <p className="mt-2 flex gap-4 text-xs text-muted">
              <span className="flex items-center gap-1.5">
                <span className="size-2.5 rounded-sm bg-accent" /> requests
              </span>
              <span className="flex items-center gap-1.5">
                <span className="size-2.5 rounded-sm bg-danger" /> of them errors
              </span>
              <span className="ml-auto">{RANGE_NAMES[range]}</span>
            </p>
          </div>
        </>
      )}
    </Panel>
  );
}

function People({ instanceId }: { instanceId: string }) {
  const list = usePagedList(`access ${instanceId}`, (client, cursor, signal) =>
    client.accessList(instanceId, { cursor }, signal),
  );
  return (
    <Panel
      title="People with access"
      description="Access is given and withdrawn on the page of a user. Administrators need none."
      action={
        <LinkButton to="/users" small>
          Users
        </LinkButton>
      }
    >
      {list.failure !== null && <Failure failure={list.failure} onRetry={list.reload} compact />}
      {list.items?.length === 0 && <p className="text-sm text-muted">Nobody so far.</p>}
      {list.items !== null && list.items.length > 0 && (
        <>
          <ul className="divide-y divide-line">
            {list.items.map(({ user_id, email, role, created_at }) => (
              <li
                key={user_id}
                className="flex flex-wrap items-center justify-between gap-x-4 gap-y-1 py-2.5"
              >
                <span className="flex min-w-0 items-center gap-2">
                  <Link
                    to={`/users/id/${user_id}`}
                    className="font-medium break-all underline-offset-2 hover:underline"
                  >
                    {email}
                  </Link>
                  <Badge>{role}</Badge>
                </span>
                <span className="text-sm text-muted">since {formatDateTime(created_at)}</span>
              </li>
            ))}
          </ul>
          {list.hasMore && (
            <LoadMore
              shown={list.items.length}
              noun="people"
              hasMore={list.hasMore}
              isLoading={list.isLoadingMore}
              failure={list.moreFailure}
              onMore={list.more}
            />
          )}
        </>
      )}
    </Panel>
  );
}

function Details({ instance, onSaved }: { instance: Instance; onSaved: (next: Instance) => void }) {
  return (
    <div className="space-y-6">
      <Activity instanceId={instance.instance_id} />
      <EditForm instance={instance} onSaved={onSaved} />
      <People instanceId={instance.instance_id} />
      <DeleteInstance instance={instance} />
    </div>
  );
}

export function InstancePage() {
  const { instanceId = '' } = useParams();
  const { value, failure, isLoading, reload, replace } = useResource(
    `instance ${instanceId}`,
    (client, signal) => client.instance(instanceId, signal),
  );
  return (
    <>
      <PageTitle
        title={value?.name ?? 'Instance'}
        back={{ to: '/instances', label: 'Instances' }}
        subtitle={
          value !== null && (
            <>
              <Mono>{value.instance_id}</Mono> · {value.org_id} · changed{' '}
              {formatDateTime(value.updated_at)}
            </>
          )
        }
        action={
          <LinkButton to={`/logs?instance_id=${encodeURIComponent(instanceId)}`} icon="logs">
            Logs
          </LinkButton>
        }
      />
      {failure !== null && <Failure failure={failure} onRetry={reload} />}
      {value === null && isLoading && <Loading label="Loading the instance" />}
      {value !== null && <Details key={value.instance_id} instance={value} onSaved={replace} />}
    </>
  );
}
