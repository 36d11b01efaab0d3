// All charts, and the table that compares the instances.
import type { Directory } from '../directory';
import { formatCount, formatMilliseconds, formatPercent } from '../format';
import {
  errorRates,
  type InstanceSeries,
  type Metrics,
  meanResponse,
  share,
  sum,
  type Value,
} from '../metrics';
import { ChartCard } from './chart-card';
import { CostCard, ProviderUsageCard } from './providers';
import { TimeChart } from './time-chart';

const COLUMNS = ['Requests', 'Errors', 'Error rate', 'Limited', 'Response'];
const CELL = 'py-2.5 pl-1 text-right whitespace-nowrap tabular-nums sm:pl-4';

interface Props {
  metrics: Metrics;
  directory: Directory;
}

function InstanceRow({ name, series }: { name: string; series: InstanceSeries }) {
  const requests = sum(series.requests);
  const title = (
    <th scope="row" className="max-w-40 py-2.5 text-left font-normal wrap-anywhere">
      {name}
    </th>
  );
  if (requests === 0) {
    return (
      <tr className="border-t border-line">
        {title}
        <td colSpan={COLUMNS.length} className="py-2.5 pl-2 text-right text-muted">
          no traffic
        </td>
      </tr>
    );
  }
  const errors = sum(series.errors);
  return (
    <tr className="border-t border-line">
      {title}
      <td className={CELL}>{formatCount(requests)}</td>
      <td className={CELL}>{formatCount(errors)}</td>
      <td className={CELL}>{formatPercent(share(errors, requests))}</td>
      <td className={CELL}>{formatCount(sum(series.rate_limited))}</td>
      <td className={CELL}>{formatMilliseconds(meanResponse(series))}</td>
    </tr>
  );
}

function InstancesCard({ metrics, directory }: Props) {
  return (
    <ChartCard
      title="Instances"
      description="Over the whole range; the mean response time is approximate."
    >
      <section
        aria-label="Instances, as a table"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls
        tabIndex={0}
        className="max-h-96 overflow-auto"
      >
        {/* All columns fit a phone: smaller there, their titles on two lines. */}
        <table className="w-full text-xs sm:text-sm">
          <caption className="sr-only">Metrics by instance</caption>
          <thead>
            <tr className="align-bottom text-[0.6875rem] text-muted sm:text-[0.8125rem]">
              <th scope="col" className="pb-2 text-left font-normal">
                Instance
              </th>
              {COLUMNS.map((column) => (
                <th key={column} scope="col" className="pb-2 pl-1 text-right font-normal sm:pl-4">
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {metrics.series.map((series) => (
              <InstanceRow
                key={series.instance_id}
                name={directory.nameOf(series.instance_id)}
                series={series}
              />
            ))}
          </tbody>
        </table>
      </section>
    </ChartCard>
  );
}

export function Charts({ metrics, directory }: Props) {
  const seriesOf = (values: (series: InstanceSeries) => Value[]) =>
    metrics.series.map((series) => ({
      id: series.instance_id,
      place: directory.instancePlace(series.instance_id),
      name: directory.nameOf(series.instance_id),
      values: values(series),
    }));
  const noTraffic = 'No requests in this time.';
  const refused = metrics.totals.requests > 0 ? 'Nothing was refused in this time.' : noTraffic;
  return (
    <div className="grid gap-4 lg:grid-cols-2">
      <TimeChart
        title="Requests"
        description="Answers to POST /generate, for each instance."
        metrics={metrics}
        series={seriesOf(({ requests }) => requests)}
        kind="line"
        summary="sum"
        format={formatCount}
        empty={noTraffic}
      />
      <TimeChart
        title="Error rate"
        description="Share of requests that ended in 5xx. Refusals by rate limit (429) are none."
        metrics={metrics}
        series={seriesOf(errorRates)}
        kind="line"
        summary="latest"
        format={formatPercent}
        empty={noTraffic}
      />
      <TimeChart
        title="Average response time"
        description="Mean over successful generations; a gap where there were none."
        metrics={metrics}
        series={seriesOf(({ response_ms }) => response_ms)}
        kind="line"
        summary="latest"
        format={formatMilliseconds}
        empty="Nothing was generated in this time."
      />
      <TimeChart
        title="Rate limit hits"
        description="Requests refused with 429."
        metrics={metrics}
        series={seriesOf(({ rate_limited }) => rate_limited)}
        kind="bar"
        summary="sum"
        format={formatCount}
        empty={refused}
      />
      <ProviderUsageCard metrics={metrics} directory={directory} />
      <div className="grid min-w-0 content-start gap-4">
        <CostCard metrics={metrics} />
        <InstancesCard metrics={metrics} directory={directory} />
      </div>
    </div>
  );
}
