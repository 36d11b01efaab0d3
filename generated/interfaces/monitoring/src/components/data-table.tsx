// The numbers of a chart as a table, made only when somebody opens it.
import { type ReactNode, useState } from 'react';

export interface TableRow {
  id: string;
  name: string;
  cells: string[];
}

interface Props {
  caption: string;
  rowTitle: string;
  columns: { id: string; title: string }[];
  /** Called when the table is open. */
  rows: () => TableRow[];
}

function Table({ caption, rowTitle, columns, rows }: Props): ReactNode {
  return (
    // Scrolls, so it must be reachable with the keyboard.
    <section
      aria-label={`${caption}, as a table`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls
      tabIndex={0}
      className="mt-1 max-h-72 overflow-auto rounded-lg border border-line"
    >
      <table className="w-full border-collapse text-[0.8125rem] tabular-nums">
        <caption className="sr-only">{caption}</caption>
        <thead className="sticky top-0 bg-sunken">
          <tr>
            <th scope="col" className="px-3 py-2 text-left font-semibold max-sm:px-1.5">
              {rowTitle}
            </th>
            {columns.map(({ id, title }) => (
              <th
                key={id}
                scope="col"
                className="px-3 py-2 text-right font-semibold max-sm:px-1.5 max-sm:wrap-anywhere"
              >
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows().map(({ id, name, cells }) => (
            <tr key={id} className="border-t border-line">
              <th
                scope="row"
                className="px-3 py-1.5 text-left font-normal max-sm:px-1.5 max-sm:wrap-anywhere sm:whitespace-nowrap"
              >
                {name}
              </th>
              {cells.map((cell, index) => (
                <td
                  key={columns[index]?.id}
                  className="px-3 py-1.5 text-right whitespace-nowrap max-sm:px-1.5"
                >
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

export function DataTable(props: Props) {
  const [open, setOpen] = useState(false);
  return (
    <details
      className="mt-3 border-t border-line text-sm"
      onToggle={(event) => setOpen(event.currentTarget.open)}
    >
      <summary className="w-fit rounded-sm pt-2.5 pb-1.5 text-muted pointer-coarse:py-3 hover:text-ink">
        Show as table
      </summary>
      {open ? <Table {...props} /> : null}
    </details>
  );
}
