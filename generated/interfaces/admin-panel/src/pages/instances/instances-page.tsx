// All instances within reach, each with what it did lately.
import { Link } from 'react-router';
import type { Instance, MetricRange, MetricSeries, Metrics } from '../../api/types';
import { ActivityBars } from '../../components/activity-bars';
import { Badge, LinkButton, Mono } from '../../components/elements';
import { OrganizationFilter, useOrganizations } from '../../components/organization-filter';
import { RANGE_NAMES, RangeSelect, rangeOf } from '../../components/range-select';
import { PageTitle } from '../../components/shell';
import { Empty, Failure, Loading, LoadMore } from '../../components/states';
import { formatCount, plural, sum } from '../../format';
import { useAddress } from '../../hooks/use-address';
import { usePagedList } from '../../hooks/use-paged-list';
import { type Resource, useResource } from '../../hooks/use-resource';

function Figure({ label, count, tone = '' }: { label: string; count: number; tone?: string }) {
  return (
    <div>
      <dt className="text-xs text-muted">{label}</dt>
      <dd className={`text-lg font-semibold tabular-nums ${count > 0 ? tone : ''}`}>
        {formatCount(count)}
      </dd>
    </div>
  );
}

function Statistics({
  series,
  metrics,
  range,
}: {
  series: MetricSeries | undefined;
  metrics: Resource<Metrics>;
  range: MetricRange;
}) {
  if (series === undefined) {
    return (
      <p className="text-sm text-muted">
        {metrics.isLoading ? 'Loading statistics…' : 'No statistics'}
      </p>
    );
  }
  return (
    <div className="flex items-end gap-5">
      <dl className="flex gap-5">
        <Figure label="Requests" count={sum(series.requests)} />
        <Figure label="Errors" count={sum(series.errors)} tone="text-danger" />
        <Figure label="Limited" count={sum(series.rate_limited)} tone="text-warning" />
      </dl>
      <div className="min-w-0 flex-1">
        <ActivityBars
          requests={series.requests}
          errors={series.errors}
          period={RANGE_NAMES[range]}
        />
      </div>
    </div>
  );
}

function Providers({ instance }: { instance: Instance }) {
  const providers = Object.keys(instance.api_keys);
  if (providers.length === 0) {
    return <Badge tone="warning">No provider key</Badge>;
  }
  return providers.map((provider) => (
    <Badge key={provider} tone="accent">
      {provider}
    </Badge>
  ));
}

function InstanceCard({
  instance,
  orgName,
  ...statistics
}: {
  instance: Instance;
  orgName: string | undefined;
  series: MetricSeries | undefined;
  metrics: Resource<Metrics>;
  range: MetricRange;
}) {
  return (
    <li className="relative flex flex-col gap-5 rounded-xl border border-line bg-surface p-5 shadow-card motion-safe:transition-colors hover:border-accent/60">
      <div className="flex flex-wrap items-start justify-between gap-3">
        <div className="min-w-0">
          <h2 className="font-semibold break-words">
            {/* The whole card leads there; its name says where. */}
            <Link
              to={`/instances/id/${instance.instance_id}`}
              className="after:absolute after:inset-0 after:rounded-xl focus-visible:outline-none focus-visible:after:outline-2 focus-visible:after:outline-accent"
            >
              {instance.name}
            </Link>
          </h2>
          <p className="mt-0.5 text-muted">
            <Mono>{instance.instance_id}</Mono>
          </p>
        </div>
        <div className="flex flex-wrap justify-end gap-1.5">
          <Providers instance={instance} />
        </div>
      </div>
      <Statistics {...statistics} />
      <p className="text-sm text-muted">
        {orgName !== undefined && `${orgName} · `}
        {plural(instance.authorized_users.length, 'person', 'people')} with access ·{' '}
        {instance.r2_bucket ?? 'default bucket'}
      </p>
    </li>
  );
}

export function InstancesPage() {
  const { get, change } = useAddress();
  const orgId = get('org');
  const range = rangeOf(get('range'));
  const organizations = useOrganizations();
  const list = usePagedList(`instances ${orgId}`, (client, cursor, signal) =>
    client.instances({ org_id: orgId, cursor }, signal),
  );
  const metrics = useResource(`metrics ${range}`, (client, signal) =>
    client.metrics({ range }, signal),
  );
  const nameOfOrganization = (id: string) =>
    organizations.length > 1
      ? (organizations.find(({ org_id }) => org_id === id)?.name ?? id)
      : undefined;

  return (
    <>
      <PageTitle
        title="Instances"
        subtitle="Each has its own provider keys, limits, Workers and bucket."
        action={
          <LinkButton to="/instances/new" tone="primary" icon="plus">
            New instance
          </LinkButton>
        }
      />
      <div className="mb-5 flex flex-wrap items-end justify-between gap-4">
        <OrganizationFilter
          organizations={organizations}
          value={orgId}
          onChange={(value) => change({ org: value })}
        />
        <div className="ml-auto">
          <RangeSelect value={range} onChange={(value) => change({ range: value })} />
        </div>
      </div>
      {metrics.failure !== null && (
        <div className="mb-5">
          <Failure failure={metrics.failure} onRetry={metrics.reload} compact />
        </div>
      )}
      {list.failure !== null && <Failure failure={list.failure} onRetry={list.reload} />}
      {list.items === null && list.isLoading && <Loading label="Loading instances" />}
      {list.items?.length === 0 && (
        <Empty
          icon="instances"
          title="No instance yet"
          action={
            <LinkButton to="/instances/new" icon="plus">
              Create the first
            </LinkButton>
          }
        >
          An instance is what images are generated in.
        </Empty>
      )}
      {list.items !== null && list.items.length > 0 && (
        <>
          {/* biome-ignore lint/a11y/noRedundantRoles: without list markers, Safari forgets that it is a list */}
          <ul role="list" aria-label="Instances" className="grid gap-4 lg:grid-cols-2">
            {list.items.map((instance) => (
              <InstanceCard
                key={instance.instance_id}
                instance={instance}
                orgName={nameOfOrganization(instance.org_id)}
                series={metrics.value?.series.find(
                  ({ instance_id }) => instance_id === instance.instance_id,
                )}
                metrics={metrics}
                range={range}
              />
            ))}
          </ul>
          <LoadMore
            shown={list.items.length}
            noun={list.items.length === 1 ? 'instance' : 'instances'}
            hasMore={list.hasMore}
            isLoading={list.isLoadingMore}
            failure={list.moreFailure}
            onMore={list.more}
          />
        </>
      )}
    </>
  );
}
