// The two filters: time range and instances.
import { type KeyboardEvent, useEffect, useRef } from 'react';
import type { Instance } from '../api';
import type { Directory } from '../directory';
import { RANGE_NAMES } from '../format';
import { RANGES } from '../metrics';
import type { Selection } from '../selection';

interface Props {
  selection: Selection;
  instances: Instance[];
  directory: Directory;
  onSelect: (selection: Selection) => void;
}

function RangeFilter({ selection, onSelect }: Pick<Props, 'selection' | 'onSelect'>) {
  return (
    <fieldset className="flex min-w-0 rounded-lg border border-edge bg-surface p-0.5">
      <legend className="sr-only">Time range</legend>
      {RANGES.map((range) => (
        <label
          key={range}
          className="rounded-md px-3 py-1.5 text-sm pointer-coarse:py-2.5 whitespace-nowrap text-muted has-checked:bg-accent-soft has-checked:font-semibold has-checked:text-accent has-focus-visible:outline-2 has-focus-visible:outline-accent"
        >
          <input
            type="radio"
            name="range"
            className="sr-only"
            checked={selection.range === range}
            onChange={() => onSelect({ ...selection, range })}
          />
          {RANGE_NAMES[range]}
        </label>
      ))}
    </fieldset>
  );
}

function summaryOf({ selection, instances, directory }: Omit<Props, 'onSelect'>): string {
  const [first, ...others] = selection.instanceIds;
  if (first === undefined) {
    return `All instances (${instances.length})`;
  }
  return others.length === 0 ? directory.nameOf(first) : `${others.length + 1} instances`;
}

function InstanceFilter({ selection, instances, directory, onSelect }: Props) {
  const details = useRef<HTMLDetailsElement>(null);
  const close = () => {
    if (details.current !== null) {
      details.current.open = false;
    }
  };
  useEffect(() => {
    const closeFromOutside = (event: PointerEvent) => {
      if (event.target instanceof Node && !details.current?.contains(event.target)) {
        close();
      }
    };
    document.addEventListener('pointerdown', closeFromOutside);
    return () => document.removeEventListener('pointerdown', closeFromOutside);
  });
  const closeByKey = (event: KeyboardEvent) => {
    if (event.key === 'Escape') {
      close();
      details.current?.querySelector('summary')?.focus();
    }
  };
  const toggle = (id: string) => {
    const others = selection.instanceIds.filter((selected) => selected !== id);
    const added = others.length === selection.instanceIds.length ? [id] : [];
    onSelect({ ...selection, instanceIds: [...others, ...added].sort() });
  };
  return (
    <details ref={details} className="group relative" onKeyDown={closeByKey}>
      <summary className="action list-none [&::-webkit-details-marker]:hidden">
        <span className="max-w-48 truncate">{summaryOf({ selection, instances, directory })}</span>
        <span aria-hidden="true" className="text-muted group-open:rotate-180">
          ▾
        </span>
      </summary>
      <fieldset className="absolute left-0 z-10 mt-1.5 max-h-80 w-64 overflow-y-auto rounded-xl border border-line bg-surface p-1.5 text-sm shadow-float">
        <legend className="sr-only">Instances</legend>
        <label className="flex items-center gap-2.5 rounded-md px-2.5 py-2 hover:bg-sunken pointer-coarse:py-3">
          <input
            type="checkbox"
            className="size-4 accent-accent"
            checked={selection.instanceIds.length === 0}
            onChange={() => onSelect({ ...selection, instanceIds: [] })}
          />
          All instances
        </label>
        <hr className="my-1 border-line" />
        {instances.map(({ instanceId, name }) => (
          <label
            key={instanceId}
            className="flex items-center gap-2.5 rounded-md px-2.5 py-2 hover:bg-sunken pointer-coarse:py-3"
          >
            <input
              type="checkbox"
              className="size-4 flex-none accent-accent"
              checked={selection.instanceIds.includes(instanceId)}
              onChange={() => toggle(instanceId)}
            />
            <span className="min-w-0">
              <span className="block truncate">{name}</span>
              {name === instanceId ? null : (
                <span className="block truncate text-xs text-muted">{instanceId}</span>
              )}
            </span>
          </label>
        ))}
      </fieldset>
    </details>
  );
}

export function Filters(props: Props) {
  return (
    <div className="flex flex-wrap items-center gap-2">
      <RangeFilter selection={props.selection} onSelect={props.onSelect} />
      <InstanceFilter {...props} />
    </div>
  );
}
