// A metric of each instance over time, as lines or stacked bars.
import type { ChartConfiguration, ScriptableContext } from 'chart.js';
import { useMemo } from 'react';
import { formatBucket, formatMoment, formatTick } from '../format';
import { bucketTimes, latest, type Metrics, sum, type Value } from '../metrics';
import { chartColors, seriesColor, seriesDash } from '../palette';
import { tickIndexes } from '../ticks';
import { useDark } from '../use-dark';
import { ChartCanvas } from './chart-canvas';
import { ChartCard, Legend } from './chart-card';
import { DataTable } from './data-table';

export interface TimeSeries {
  id: string;
  /** In the palette: the same whatever else is shown. */
  place: number;
  name: string;
  values: Value[];
}

interface Props {
  title: string;
  description: string;
  metrics: Metrics;
  series: TimeSeries[];
  kind: 'line' | 'bar';
  /** What the legend says of a series: the sum of a count, the newest value of a rate. */
  summary: 'sum' | 'latest';
  /** `scale` is the end of an axis, for a unit that all its labels share. */
  format: (value: Value, scale?: number) => string;
  empty: string;
}

/** A value between two gaps has no line to it: only a point shows it. */
function pointRadius({ dataset, dataIndex }: ScriptableContext<'line'>): number {
  const present = (index: number) => dataset.data[index] != null;
  return present(dataIndex - 1) || present(dataIndex + 1) ? 0 : 3;
}

type Configuration = ChartConfiguration<'line' | 'bar', (number | null)[], string>;

function datasetsOf({ series, kind }: Props, dark: boolean): Configuration['data']['datasets'] {
  return series.map(({ place, name, values }) => {
    const color = seriesColor(place, dark);
    return kind === 'bar'
      ? { type: 'bar', label: name, data: values, backgroundColor: color, stack: 'all' }
      : {
          type: 'line',
          label: name,
          data: values,
          borderColor: color,
          backgroundColor: color,
          borderWidth: 2,
          borderDash: seriesDash(place),
          pointRadius,
          pointHoverRadius: 4,
          spanGaps: false,
        };
  });
}

function configurationOf(props: Props, dark: boolean): Configuration {
  const { metrics, kind, format } = props;
  const times = bucketTimes(metrics);
  const colors = chartColors(dark);
  const stacked = kind === 'bar';
  return {
    type: kind,
    data: {
      labels: times.map((timeMs) => formatTick(timeMs, metrics.range)),
      datasets: datasetsOf(props, dark),
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: 'index', intersect: false },
      scales: {
        x: {
          stacked,
          grid: { display: false },
          border: { color: colors.line },
          ticks: { color: colors.muted, maxRotation: 0, autoSkip: false },
          afterBuildTicks: (axis) => {
            axis.ticks = tickIndexes(times, metrics.range, axis.width).map((value) => ({ value }));
          },
        },
        y: {
          stacked,
          beginAtZero: true,
          border: { display: false },
          grid: { color: colors.line },
          ticks: {
            color: colors.muted,
            maxTicksLimit: 5,
            callback: (value, _, ticks) => format(Number(value), ticks.at(-1)?.value),
            ...(format(1) === '1' ? { precision: 0 } : {}),
          },
        },
      },
      plugins: {
        tooltip: {
          backgroundColor: colors.ink,
          titleColor: colors.surface,
          bodyColor: colors.surface,
          callbacks: {
            title: ([item]) =>
              formatBucket(times[item?.dataIndex ?? 0] ?? 0, metrics.bucket_seconds),
            label: ({ dataset, parsed }) => ` ${dataset.label ?? ''}: ${format(parsed.y)}`,
          },
        },
      },
    },
  };
}

export function TimeChart(props: Props) {
  const { title, description, metrics, series, kind, summary, format, empty } = props;
  const dark = useDark();
  // biome-ignore lint/correctness/useExhaustiveDependencies: everything else follows from the metrics
  const configuration = useMemo(() => configurationOf(props, dark), [metrics, dark]);
  const times = bucketTimes(metrics);

  const silent = new Set(
    metrics.series.filter(({ requests }) => sum(requests) === 0).map((one) => one.instance_id),
  );
  const items = series.map(({ id, place, name, values }) => {
    const newest = latest(values);
    const time = newest && formatMoment(times[newest.index] ?? 0, metrics.range);
    const look = { id, place, name };
    if (silent.has(id)) {
      return { ...look, value: '', note: 'no traffic' };
    }
    return summary === 'sum'
      ? { ...look, value: format(sum(values.map((value) => value ?? 0))), note: null }
      : { ...look, value: format(newest?.value ?? null), note: time && `at ${time}` };
  });
  const spoken = items.map(({ name, value, note }) => `${name} ${value} ${note ?? ''}`.trim());
  // A rate of zero is a number; a count of zero is nothing to draw.
  const isEmpty = !series.some(({ values }) =>
    values.some((value) => value !== null && (summary === 'latest' || value !== 0)),
  );

  return (
    <ChartCard title={title} description={description}>
      <ChartCanvas
        configuration={configuration}
        label={`${title}. ${spoken.join(', ')}. The table below has every number.`}
        empty={isEmpty ? empty : null}
      />
      <Legend items={items} solid={kind === 'bar'} />
      <DataTable
        caption={title}
        rowTitle="Time"
        columns={series.map(({ id, name }) => ({ id, title: name }))}
        rows={() =>
          times
            .map((timeMs, index) => ({
              id: String(timeMs),
              name: formatBucket(timeMs, metrics.bucket_seconds),
              cells: series.map(({ values }) => format(values[index] ?? null)),
            }))
            .reverse()
        }
      />
    </ChartCard>
  );
}
