// All charts, and the table that compares the instances.
import { formatCount, formatMilliseconds, formatPercent } from '../format';
import {
  errorRates,
  type InstanceSeries,
  latest,
  type Metrics,
  share,
  sum,
  type Value,
} from '../metrics';
import { ChartCard } from './chart-card';
import { CostCard, ProviderUsageCard } from './providers';
import { TimeChart } from './time-chart';

const CELL = 'py-2.5 pl-4 text-right whitespace-nowrap tabular-nums';

function InstanceRow({ series }: { series: InstanceSeries }) {
  const requests = sum(series.requests);
  const name = (
    <th scope="row" className="py-2.5 max-w-40 text-left font-normal wrap-anywhere">
      {series.instance_id}
    </th>
  );
  if (requests === 0) {
    return (
      <tr className="border-t border-line">
        {name}
        <td colSpan={5} className="py-2.5 pl-4 text-muted">
          no traffic
        </td>
      </tr>
    );
  }
  const errors = sum(series.errors);
  return (
    <tr className="border-t border-line">
      {name}
      <td className={CELL}>{formatCount(requests)}</td>
      <td className={CELL}>{formatCount(errors)}</td>
      <td className={CELL}>{formatPercent(share(errors, requests))}</td>
      <td className={CELL}>{formatCount(sum(series.rate_limited))}</td>
      <td className={CELL}>{formatMilliseconds(latest(series.response_ms)?.value ?? null)}</td>
    </tr>
  );
}

const COLUMNS = ['Requests', 'Errors', 'Error rate', 'Limited', 'Response'];

function InstancesCard({ metrics }: { metrics: Metrics }) {
  return (
    <ChartCard
      title="Instances"
      description="Over the whole range; the response time is the newest there is."
    >
      <section
        aria-label="Instances, as a table"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls
        tabIndex={0}
        className="max-h-96 overflow-auto"
      >
        <table className="w-full min-w-120 text-sm">
          <caption className="sr-only">Metrics by instance</caption>
          <thead>
            <tr className="text-[0.8125rem] text-muted">
              <th scope="col" className="pb-2 text-left font-normal">
                Instance
              </th>
              {COLUMNS.map((column) => (
                <th key={column} scope="col" className="pb-2 pl-4 text-right font-normal">
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {metrics.series.map((series) => (
              <InstanceRow key={series.instance_id} series={series} />
            ))}
          </tbody>
        </table>
      </section>
    </ChartCard>
  );
}

export function Charts({ metrics }: { metrics: Metrics }) {
  const seriesOf = (values: (series: InstanceSeries) => Value[]) =>
    metrics.series.map((series) => ({ name: series.instance_id, values: values(series) }));
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
      <ProviderUsageCard metrics={metrics} />
      <div className="grid min-w-0 content-start gap-4">
        <CostCard metrics={metrics} />
        <InstancesCard metrics={metrics} />
      </div>
    </div>
  );
}
