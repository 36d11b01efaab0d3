// The filters above the logs. What is typed applies when it is sent, what is chosen at once.
import { type FormEvent, useState } from 'react';
import { LOG_LEVELS, type LogLevel } from '../../api/types';
import { Button } from '../../components/elements';
import { Field } from '../../components/field';
import { Icon } from '../../components/icons';
import type { AddressChange } from '../../hooks/use-address';
import { useResource } from '../../hooks/use-resource';
import {
  CUSTOM_PERIOD,
  FILTER_NAMES,
  hasFilters,
  type LogFilters,
  levelsOf,
  localTimeOf,
  PERIODS,
  timestampOfLocal,
} from './log-filters';

interface FilterProps {
  filters: LogFilters;
  onChange: (change: AddressChange) => void;
}

function InstanceFilter({ filters, onChange }: FilterProps) {
  const { value } = useResource('instances for a choice', (client, signal) =>
    client.all((query) => client.instances(query, signal)),
  );
  const chosen = filters.instance_id;
  const isKnown = (value ?? []).some(({ instance_id }) => instance_id === chosen);
  return (
    <Field label="Instance">
      {(control) => (
        <select
          {...control}
          className="control"
          value={chosen}
          onChange={(event) => onChange({ instance_id: event.target.value })}
        >
          <option value="">All instances</option>
          {chosen !== '' && !isKnown && <option value={chosen}>{chosen}</option>}
          {(value ?? []).map(({ instance_id, name }) => (
            <option key={instance_id} value={instance_id}>
              {name}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

function LevelFilter({ filters, onChange }: FilterProps) {
  const chosen = levelsOf(filters.level);
  const toggle = (level: LogLevel) => {
    const next = LOG_LEVELS.filter((each) => (each === level) !== chosen.includes(each));
    onChange({ level: next.join(',') });
  };
  return (
    <fieldset>
      <legend className="mb-1.5 text-sm font-medium">Level</legend>
      <div className="flex min-h-10 flex-wrap items-center gap-1.5">
        {LOG_LEVELS.map((level) => (
          <label
            key={level}
            className="cursor-pointer rounded-md border border-edge bg-surface px-2.5 py-1.5 text-xs font-semibold text-muted has-checked:border-accent has-checked:bg-accent-soft has-checked:text-accent has-focus-visible:outline-2 has-focus-visible:outline-offset-2 has-focus-visible:outline-accent"
          >
            <input
              type="checkbox"
              className="sr-only"
              checked={chosen.includes(level)}
              onChange={() => toggle(level)}
            />
            {level}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

function PeriodFilter({ filters, onChange }: FilterProps) {
  const isCustom = filters.period === CUSTOM_PERIOD;
  return (
    <>
      <Field label="Time">
        {(control) => (
          <select
            {...control}
            className="control"
            value={filters.period}
            onChange={(event) => onChange({ period: event.target.value, from: null, to: null })}
          >
            {PERIODS.map(({ value, label }) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
            <option value={CUSTOM_PERIOD}>From … to …</option>
          </select>
        )}
      </Field>
      {isCustom &&
        (['from', 'to'] as const).map((name) => (
          <Field key={name} label={name === 'from' ? 'From' : 'To (not included)'}>
            {(control) => (
              <input
                {...control}
                type="datetime-local"
                step="1"
                className="control"
                value={localTimeOf(filters[name])}
                onChange={(event) => onChange({ [name]: timestampOfLocal(event.target.value) })}
              />
            )}
          </Field>
        ))}
    </>
  );
}

const TYPED = [
  { name: 'component', label: 'Component', placeholder: 'image-gen-worker' },
  { name: 'request_id', label: 'Request id', placeholder: '' },
  { name: 'user_id', label: 'User id', placeholder: '' },
] as const;

/** What is typed is kept here until it is sent. Remounted when the address changes otherwise, so that both agree. */
function TypedFilters({ filters, onChange }: FilterProps) {
  const [typed, setTyped] = useState(filters);
  const set = (change: Partial<LogFilters>) => setTyped({ ...typed, ...change });
  const isDetailed = TYPED.some(({ name }) => filters[name] !== '');

  const submit = (event: FormEvent) => {
    event.preventDefault();
    const { search, component, request_id, user_id } = typed;
    onChange({
      search: search.trim() === '' ? null : search,
      component: component.trim(),
      request_id: request_id.trim(),
      user_id: user_id.trim(),
    });
  };

  return (
    <form aria-label="Search the logs" onSubmit={submit}>
      <div className="flex items-end gap-2">
        <Field label="Search in messages" className="min-w-0 flex-1">
          {(control) => (
            <input
              {...control}
              type="search"
              className="control"
              maxLength={200}
              value={typed.search}
              onChange={(event) => set({ search: event.target.value })}
            />
          )}
        </Field>
        <Button type="submit" aria-label="Search">
          <Icon name="search" className="size-4" />
          <span className="max-sm:hidden">Search</span>
        </Button>
      </div>
      <details className="mt-3" open={isDetailed}>
        <summary className="w-fit rounded py-0.5 text-sm font-medium text-muted hover:text-ink pointer-coarse:py-3">
          Component, request, user
        </summary>
        <div className="mt-3 grid gap-4 sm:grid-cols-3">
          {TYPED.map(({ name, label, placeholder }) => (
            <Field key={name} label={label}>
              {(control) => (
                <input
                  {...control}
                  className="control font-mono text-sm"
                  placeholder={placeholder}
                  autoComplete="off"
                  autoCapitalize="none"
                  spellCheck={false}
                  value={typed[name]}
                  onChange={(event) => set({ [name]: event.target.value })}
                />
              )}
            </Field>
          ))}
        </div>
      </details>
    </form>
  );
}

export function FilterBar({ filters, onChange }: FilterProps) {
  const { search, component, request_id, user_id } = filters;
  return (
    <section
      aria-label="Filters"
      className="mb-5 space-y-4 rounded-xl border border-line bg-surface p-4 shadow-card sm:p-5"
    >
      <div className="grid gap-4 sm:grid-cols-2 lg:grid-cols-3">
        <InstanceFilter filters={filters} onChange={onChange} />
        <LevelFilter filters={filters} onChange={onChange} />
        <PeriodFilter filters={filters} onChange={onChange} />
      </div>
      <TypedFilters
        key={JSON.stringify([search, component, request_id, user_id])}
        filters={filters}
        onChange={onChange}
      />
      {hasFilters(filters) && (
        <Button
          small
          tone="quiet"
          icon="close"
          onClick={() => onChange(Object.fromEntries(FILTER_NAMES.map((name) => [name, null])))}
        >
          Clear all filters
        </Button>
      )}
    </section>
  );
}
