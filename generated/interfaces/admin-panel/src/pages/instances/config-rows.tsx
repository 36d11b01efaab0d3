// The three maps of an instance's configuration as rows that can be added, changed and removed.
import type { ReactNode } from 'react';
import { Button } from '../../components/elements';
import { Field } from '../../components/field';
import type { Draft, KeyRow, LimitRow, Problems, UrlRow } from '../../forms/instance-draft';
import { newRowId } from '../../forms/instance-draft';

interface RowsProps {
  draft: Draft;
  problems: Problems;
  onChange: (change: Partial<Draft>) => void;
}

const replaced = <Row extends { id: number }>(
  rows: readonly Row[],
  id: number,
  change: Partial<Row>,
): Row[] => rows.map((row) => (row.id === id ? { ...row, ...change } : row));

function RowGroup({
  title,
  description,
  addLabel,
  onAdd,
  problem,
  children,
}: {
  title: string;
  description: string;
  addLabel: string;
  onAdd: () => void;
  problem: string | undefined;
  children: ReactNode[];
}) {
  return (
    <fieldset className="min-w-0 border-t border-line pt-5">
      <legend className="sr-only">{title}</legend>
      <div className="mb-3 flex flex-wrap items-start justify-between gap-3">
        <div className="max-w-xl">
          <p className="text-sm font-semibold" aria-hidden="true">
            {title}
          </p>
          <p className="text-sm text-muted">{description}</p>
        </div>
        <Button small icon="plus" onClick={onAdd}>
          {addLabel}
        </Button>
      </div>
      {problem !== undefined && <p className="mb-3 text-sm text-danger">{problem}</p>}
      {children.length > 0 && <div className="space-y-3">{children}</div>}
    </fieldset>
  );
}

function Row({
  columns,
  removeLabel,
  onRemove,
  children,
}: {
  columns: string;
  removeLabel: string;
  onRemove: () => void;
  children: ReactNode;
}) {
  return (
    <div
      className={`grid items-start gap-3 rounded-lg border border-line bg-sunken/60 p-3 ${columns}`}
    >
      {children}
      <div className="flex justify-end sm:pt-6.5">
        <Button tone="quiet" icon="trash" aria-label={removeLabel} onClick={onRemove}>
          <span className="sm:hidden">Remove</span>
        </Button>
      </div>
    </div>
  );
}

function TextField({
  label,
  value,
  error,
  onChange,
  ...input
}: {
  label: string;
  value: string;
  error: string | undefined;
  onChange: (text: string) => void;
  placeholder?: string;
  inputMode?: 'numeric' | 'url';
  type?: 'password';
  autoFocus?: boolean;
}) {
  return (
    <Field label={label} error={error} className="min-w-0">
      {(control) => (
        <input
          {...control}
          {...input}
          className="control"
          value={value}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          onChange={(event) => onChange(event.target.value)}
        />
      )}
    </Field>
  );
}

function KeyValue({
  row,
  error,
  onChange,
}: {
  row: KeyRow;
  error: string | undefined;
  onChange: (change: Partial<KeyRow>) => void;
}) {
  if (row.value === null && row.mask !== null) {
    return (
      <div className="min-w-0">
        <p className="mb-1.5 text-sm font-medium">Key</p>
        <div className="flex min-h-10 items-center justify-between gap-3">
          <span className="truncate font-mono text-sm">
            <span className="sr-only">stored, ends in </span>
            {row.mask}
          </span>
          <Button
            small
            aria-label={`Replace the key of ${row.name}`}
            onClick={() => onChange({ value: '' })}
          >
            Replace
          </Button>
        </div>
      </div>
    );
  }
  return (
    <div className="min-w-0">
      <TextField
        label={row.mask === null ? 'Key' : 'New key'}
        type="password"
        value={row.value ?? ''}
        error={error}
        onChange={(value) => onChange({ value })}
      />
      {row.mask !== null && (
        <button
          type="button"
          className="mt-1.5 rounded text-sm font-medium text-accent underline-offset-2 hover:underline"
          onClick={() => onChange({ value: null })}
        >
          Keep {row.mask}
        </button>
      )}
    </div>
  );
}

export function KeyRows({ draft, problems, onChange }: RowsProps) {
  const update = (id: number, change: Partial<KeyRow>) =>
    onChange({ keys: replaced(draft.keys, id, change) });
  return (
    <RowGroup
      title="Provider keys"
      description="Stored encrypted, shown as a mask, and sent only if you replace them."
      addLabel="Add key"
      problem={problems.api_keys}
      onAdd={() =>
        onChange({
          keys: [...draft.keys, { id: newRowId(), name: '', mask: null, value: '' }],
        })
      }
    >
      {draft.keys.map((row) => (
        <Row
          key={row.id}
          columns="sm:grid-cols-[10rem_minmax(0,1fr)_auto]"
          removeLabel={`Remove the key of ${row.name || 'the new provider'}`}
          onRemove={() => onChange({ keys: draft.keys.filter(({ id }) => id !== row.id) })}
        >
          {row.mask === null ? (
            <TextField
              label="Provider"
              placeholder="ideogram"
              value={row.name}
              error={problems[`api_keys.${row.id}.name`]}
              onChange={(name) => update(row.id, { name })}
            />
          ) : (
            <div>
              <p className="mb-1.5 text-sm font-medium">Provider</p>
              <p className="flex min-h-10 items-center break-all">{row.name}</p>
            </div>
          )}
          <KeyValue
            row={row}
            error={problems[`api_keys.${row.id}.value`]}
            onChange={(change) => update(row.id, change)}
          />
        </Row>
      ))}
    </RowGroup>
  );
}

export function LimitRows({ draft, problems, onChange }: RowsProps) {
  const update = (id: number, change: Partial<LimitRow>) =>
    onChange({ limits: replaced(draft.limits, id, change) });
  return (
    <RowGroup
      title="Rate limits"
      description="For each provider: requests, and if it counts them, tokens per minute."
      addLabel="Add limit"
      problem={problems.rate_limits}
      onAdd={() =>
        onChange({ limits: [...draft.limits, { id: newRowId(), name: '', rpm: '', tpm: '' }] })
      }
    >
      {draft.limits.map((row) => (
        <Row
          key={row.id}
          columns="sm:grid-cols-[10rem_minmax(0,1fr)_minmax(0,1fr)_auto]"
          removeLabel={`Remove the limit of ${row.name || 'the new provider'}`}
          onRemove={() => onChange({ limits: draft.limits.filter(({ id }) => id !== row.id) })}
        >
          <TextField
            label="Provider"
            placeholder="ideogram"
            value={row.name}
            error={problems[`rate_limits.${row.id}.name`]}
            onChange={(name) => update(row.id, { name })}
          />
          <TextField
            label="Requests per minute"
            inputMode="numeric"
            value={row.rpm}
            error={problems[`rate_limits.${row.id}.rpm`]}
            onChange={(rpm) => update(row.id, { rpm })}
          />
          <TextField
            label="Tokens per minute"
            inputMode="numeric"
            placeholder="no limit"
            value={row.tpm}
            error={problems[`rate_limits.${row.id}.tpm`]}
            onChange={(tpm) => update(row.id, { tpm })}
          />
        </Row>
      ))}
    </RowGroup>
  );
}

export function UrlRows({ draft, problems, onChange }: RowsProps) {
  const update = (id: number, change: Partial<UrlRow>) =>
    onChange({ urls: replaced(draft.urls, id, change) });
  return (
    <RowGroup
      title="Worker addresses"
      description="Where the Workers of this instance answer, by their type."
      addLabel="Add address"
      problem={problems.worker_urls}
      onAdd={() => onChange({ urls: [...draft.urls, { id: newRowId(), name: '', url: '' }] })}
    >
      {draft.urls.map((row) => (
        <Row
          key={row.id}
          columns="sm:grid-cols-[10rem_minmax(0,1fr)_auto]"
          removeLabel={`Remove the address of ${row.name || 'the new Worker'}`}
          onRemove={() => onChange({ urls: draft.urls.filter(({ id }) => id !== row.id) })}
        >
          <TextField
            label="Worker"
            placeholder="image-gen"
            value={row.name}
            error={problems[`worker_urls.${row.id}.name`]}
            onChange={(name) => update(row.id, { name })}
          />
          <TextField
            label="Address"
            inputMode="url"
            placeholder="https://images.example.com"
            value={row.url}
            error={problems[`worker_urls.${row.id}.url`]}
            onChange={(url) => update(row.id, { url })}
          />
        </Row>
      ))}
    </RowGroup>
  );
}
