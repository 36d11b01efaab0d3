// A metric of each instance over time, as lines or stacked bars.
import type { ChartConfiguration, ScriptableContext } from 'chart.js';
import { useMemo } from 'react';
import { formatBucket, formatMoment, formatTick } from '../format';
import { bucketTimes, latest, type Metrics, sum, type Value } from '../metrics';
import { chartColors, seriesColor, seriesDash } from '../palette';
import { useDark } from '../use-dark';
import { ChartCanvas } from './chart-canvas';
import { ChartCard, Legend, NoData } from './chart-card';
import { DataTable } from './data-table';

export interface TimeSeries {
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
  format: (value: Value) => string;
  empty: string;
}

/** A value between two gaps has no line to it: only a point shows it. */
function pointRadius({ dataset, dataIndex }: ScriptableContext<'line'>): number {
  const present = (index: number) => dataset.data[index] != null;
  return present(dataIndex - 1) || present(dataIndex + 1) ? 0 : 3;
}

type Configuration = ChartConfiguration<'line' | 'bar', (number | null)[], string>;

function datasetsOf({ series, kind }: Props, dark: boolean): Configuration['data']['datasets'] {
  return series.map(({ name, values }, index) => {
    const color = seriesColor(index, dark);
    return kind === 'bar'
      ? { type: 'bar', label: name, data: values, backgroundColor: color, stack: 'all' }
      : {
          type: 'line',
          label: name,
          data: values,
          borderColor: color,
          backgroundColor: color,
          borderWidth: 2,
          borderDash: seriesDash(index),
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
          ticks: { color: colors.muted, maxRotation: 0, autoSkipPadding: 24 },
        },
        y: {
          stacked,
          beginAtZero: true,
          border: { display: false },
          grid: { color: colors.line },
          ticks: {
            color: colors.muted,
            maxTicksLimit: 5,
            callback: (value) => format(Number(value)),
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
  const items = series.map(({ name, values }) => {
    const newest = latest(values);
    const time = newest && formatMoment(times[newest.index] ?? 0, metrics.range);
    if (silent.has(name)) {
      return { name, value: '', note: 'no traffic' };
    }
    return summary === 'sum'
      ? { name, value: format(sum(values.map((value) => value ?? 0))), note: null }
      : { name, value: format(newest?.value ?? null), note: time && `at ${time}` };
  });
  const spoken = items.map(({ name, value, note }) => `${name} ${value} ${note ?? ''}`.trim());
  const hasData = series.some(({ values }) =>
    values.some((value) => value !== null && value !== 0),
  );
  const hasZeros = series.some(({ name }) => !silent.has(name));

  return (
    <ChartCard title={title} description={description}>
      {hasData || (summary === 'latest' && hasZeros && latest(series.flatMap((s) => s.values))) ? (
        <ChartCanvas
          configuration={configuration}
          label={`${title}. ${spoken.join(', ')}. The table below has every number.`}
        />
      ) : (
        <NoData>{empty}</NoData>
      )}
      <Legend items={items} solid={kind === 'bar'} />
      <DataTable
        caption={title}
        rowTitle="Time"
        columns={series.map(({ name }) => name)}
        rows={() =>
          times
            .map((timeMs, index) => ({
              name: formatBucket(timeMs, metrics.bucket_seconds),
              cells: series.map(({ values }) => format(values[index] ?? null)),
            }))
            .reverse()
        }
      />
    </ChartCard>
  );
}
