// Usage by provider as a pie, and what it is estimated to cost.
import type { ChartConfiguration } from 'chart.js';
import { useMemo } from 'react';
import type { Directory } from '../directory';
import { formatCost, formatCount, formatPercent } from '../format';
import { type Metrics, share, sum } from '../metrics';
import { chartColors, seriesColor } from '../palette';
import { useDark } from '../use-dark';
import { ChartCanvas } from './chart-canvas';
import { ChartCard, Legend } from './chart-card';
import { DataTable } from './data-table';

type Configuration = ChartConfiguration<'pie', (number | null)[], string>;

function configurationOf(
  { providers }: Metrics,
  directory: Directory,
  dark: boolean,
): Configuration {
  const slices = providers.filter(({ requests }) => requests > 0).length;
  const colors = chartColors(dark);
  return {
    type: 'pie',
    data: {
      labels: providers.map(({ provider }) => provider),
      datasets: [
        {
          data: providers.map(({ requests }) => requests),
          backgroundColor: providers.map(({ provider }) =>
            seriesColor(directory.providerPlace(provider), dark),
          ),
          borderColor: colors.surface,
          // Between slices; the only one is a whole.
          borderWidth: slices > 1 ? 3 : 0,
        },
      ],
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      plugins: {
        tooltip: {
          backgroundColor: colors.ink,
          titleColor: colors.surface,
          bodyColor: colors.surface,
          callbacks: { label: ({ parsed }) => ` ${formatCount(parsed)} generations` },
        },
      },
    },
  };
}

interface Props {
  metrics: Metrics;
  directory: Directory;
}

export function ProviderUsageCard({ metrics, directory }: Props) {
  const dark = useDark();
  const { providers } = metrics;
  const configuration = useMemo(
    () => configurationOf(metrics, directory, dark),
    [metrics, directory, dark],
  );
  const total = sum(providers.map(({ requests }) => requests));
  const items = providers.map(({ provider, requests }) => ({
    id: provider,
    place: directory.providerPlace(provider),
    name: provider,
    value: formatPercent(share(requests, total)),
    note: `${formatCount(requests)} generations`,
  }));
  const spoken = items.map(({ name, value, note }) => `${name} ${value}, ${note}`).join('; ');
  return (
    <ChartCard
      title="Usage by provider"
      description="Successful generations, as they were charged."
    >
      <ChartCanvas
        configuration={configuration}
        label={`Usage by provider. ${spoken}. The table below has every number.`}
        empty={total === 0 ? 'Nothing was generated in this time.' : null}
      />
      <Legend items={items} solid />
      <DataTable
        caption="Usage by provider"
        rowTitle="Provider"
        columns={['Generations', 'Share', 'Tokens'].map((title) => ({ id: title, title }))}
        rows={() =>
          providers.map(({ provider, requests, tokens }) => ({
            id: provider,
            name: provider,
            cells: [
              formatCount(requests),
              formatPercent(share(requests, total)),
              formatCount(tokens),
            ],
          }))
        }
      />
    </ChartCard>
  );
}

export function CostCard({ metrics }: { metrics: Metrics }) {
  const { providers, totals } = metrics;
  return (
    <ChartCard
      title="Estimated cost"
      description="From recorded usage and the providers’ list prices; the bill decides."
    >
      <p className="text-3xl font-semibold tracking-tight tabular-nums">
        {formatCost(totals.cost_microdollars)}
      </p>
      {providers.length === 0 ? (
        <p className="mt-3 text-sm text-muted">Nothing was charged in this time.</p>
      ) : (
        <table className="mt-4 w-full text-sm">
          <caption className="sr-only">Estimated cost by provider</caption>
          <thead className="sr-only">
            <tr>
              <th scope="col">Provider</th>
              <th scope="col">Estimated cost</th>
              <th scope="col">Share</th>
            </tr>
          </thead>
          <tbody>
            {providers.map(({ provider, cost_microdollars: cost }) => (
              <tr key={provider} className="border-t border-line">
                <th scope="row" className="py-2.5 text-left font-normal wrap-anywhere">
                  {provider}
                </th>
                <td className="py-2.5 pl-3 text-right font-semibold tabular-nums">
                  {formatCost(cost)}
                </td>
                <td className="w-20 py-2.5 pl-3 text-right text-muted tabular-nums">
                  {formatPercent(share(cost, totals.cost_microdollars))}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </ChartCard>
  );
}
