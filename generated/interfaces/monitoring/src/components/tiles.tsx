// The numbers to see first, over everything that is selected.
import {
  formatCost,
  formatCount,
  formatMilliseconds,
  formatMoment,
  formatPercent,
} from '../format';
import { bucketTimes, currentErrorRate, currentResponse, type Metrics } from '../metrics';

interface TileProps {
  name: string;
  value: string;
  note: string;
}

function Tile({ name, value, note }: TileProps) {
  return (
    <div className="min-w-0 bg-surface p-4 sm:px-5">
      <dt className="text-[0.8125rem] text-muted">{name}</dt>
      <dd className="mt-1 text-2xl font-semibold tracking-tight wrap-anywhere tabular-nums">
        {value}
      </dd>
      <dd className="mt-0.5 text-xs text-muted">{note}</dd>
    </div>
  );
}

function responseNote(metrics: Metrics, timeOf: (index: number) => string): string {
  if (metrics.totals.response_ms === null) {
    return 'nothing was generated';
  }
  const newest = currentResponse(metrics);
  // Of one instance it is what the service says; of several it is weighted here, by counts that are nearly those.
  const about = metrics.series.length > 1 ? 'about ' : '';
  return newest === null
    ? 'of successful generations'
    : `now ${about}${formatMilliseconds(newest.value)}, at ${timeOf(newest.index)}`;
}

export function Tiles({ metrics }: { metrics: Metrics }) {
  const { totals, range } = metrics;
  const times = bucketTimes(metrics);
  const timeOf = (index: number) => formatMoment(times[index] ?? 0, range);
  const rate = currentErrorRate(metrics);
  return (
    <dl className="card grid grid-cols-2 gap-px overflow-hidden bg-line sm:grid-cols-3 xl:grid-cols-5 [&>:first-child]:max-sm:col-span-2">
      <Tile name="Requests" value={formatCount(totals.requests)} note="answers to POST /generate" />
      <Tile
        name="Error rate"
        value={formatPercent(totals.error_rate)}
        note={
          rate === null
            ? 'no requests'
            : `now ${formatPercent(rate.value)}, at ${timeOf(rate.index)}`
        }
      />
      <Tile
        name="Average response time"
        value={formatMilliseconds(totals.response_ms)}
        note={responseNote(metrics, timeOf)}
      />
      <Tile
        name="Rate limit hits"
        value={formatCount(totals.rate_limited)}
        note="refused with 429; no errors"
      />
      <Tile
        name="Estimated cost"
        value={formatCost(totals.cost_microdollars)}
        note="from recorded usage"
      />
    </dl>
  );
}
