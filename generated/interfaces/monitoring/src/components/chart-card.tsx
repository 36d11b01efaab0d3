// The frame of a chart: its title, what it counts, a legend that is text, and its numbers as a table.
import type { ReactNode } from 'react';
import { seriesColor, seriesDash } from '../palette';
import { useDark } from '../use-dark';

interface Props {
  title: string;
  description: string;
  children: ReactNode;
}

export function ChartCard({ title, description, children }: Props) {
  return (
    <section aria-label={title} className="card min-w-0 p-4 sm:p-5">
      <h2 className="font-semibold">{title}</h2>
      <p className="mt-0.5 text-[0.8125rem] text-muted">{description}</p>
      <div className="mt-4">{children}</div>
    </section>
  );
}

export interface LegendItem {
  id: string;
  /** In the palette. */
  place: number;
  name: string;
  value: string;
  note: string | null;
}

function Swatch({ place, solid }: { place: number; solid: boolean }) {
  const color = seriesColor(place, useDark());
  return (
    <svg aria-hidden="true" width="20" height="10" className="flex-none">
      {solid ? (
        <rect width="14" height="10" x="3" rx="2.5" fill={color} />
      ) : (
        <path
          d="M0 5h20"
          stroke={color}
          strokeWidth="2.5"
          strokeDasharray={seriesDash(place).join(' ')}
        />
      )}
    </svg>
  );
}

/** `solid` for areas; lines also show their dashes. */
export function Legend({ items, solid }: { items: LegendItem[]; solid: boolean }) {
  return (
    <ul className="mt-3 flex max-h-32 flex-wrap gap-x-5 gap-y-1.5 overflow-y-auto text-[0.8125rem]">
      {items.map(({ id, place, name, value, note }) => (
        <li key={id} className="flex min-w-0 items-center gap-2">
          <Swatch place={place} solid={solid} />
          <span className="wrap-anywhere">{name}</span>
          {value === '' ? null : (
            <span className="font-semibold whitespace-nowrap tabular-nums">{value}</span>
          )}
          {note === null ? null : <span className="whitespace-nowrap text-muted">{note}</span>}
        </li>
      ))}
    </ul>
  );
}

export function NoData({ children }: { children: ReactNode }) {
  return (
    <div className="absolute inset-0 grid place-items-center rounded-lg border border-dashed border-line bg-sunken p-4 text-center text-sm text-muted">
      <p>{children}</p>
    </div>
  );
}
