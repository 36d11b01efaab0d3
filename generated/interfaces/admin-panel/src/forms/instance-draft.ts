// What the form of an instance holds while it is edited, and how it becomes a request.
import type {
  ConfigChange,
  Instance,
  InstanceChange,
  InstanceConfig,
  NewInstance,
  RateLimit,
} from '../api/types';
import {
  bucketProblem,
  entryNameProblem,
  identifierProblem,
  nameProblem,
  type Problem,
  providerKeyProblem,
  RPM_MAX,
  TPM_MAX,
  wholeNumberProblem,
  workerUrlProblem,
} from './rules';

/** `mask` is what stands in the service; `value` a key that was typed, or null as long as the stored one is to stay. */
export interface KeyRow {
  id: number;
  name: string;
  mask: string | null;
  value: string | null;
}

export interface LimitRow {
  id: number;
  name: string;
  rpm: string;
  tpm: string;
}

export interface UrlRow {
  id: number;
  name: string;
  url: string;
}

export interface Draft {
  instanceId: string;
  orgId: string;
  name: string;
  bucket: string;
  keys: KeyRow[];
  limits: LimitRow[];
  urls: UrlRow[];
}

/** By field: `name`, `r2_bucket`, `api_keys.<row>.value` and so on. */
export type Problems = Record<string, string>;

const ENTRIES_MAX = 50;

let lastRowId = 0;
export const newRowId = (): number => {
  lastRowId += 1;
  return lastRowId;
};

export const emptyDraft = (orgId: string): Draft => ({
  instanceId: '',
  orgId,
  name: '',
  bucket: '',
  keys: [],
  limits: [],
  urls: [],
});

export function draftOf(instance: Instance): Draft {
  return {
    instanceId: instance.instance_id,
    orgId: instance.org_id,
    name: instance.name,
    ...configDraft(instance, instance.api_keys),
  };
}

/** The rows of a configuration. A provider key that equals its mask in `masks` is the stored one, not a new one. */
export function configDraft(
  config: InstanceConfig,
  masks: Readonly<Record<string, string>>,
): Pick<Draft, 'bucket' | 'keys' | 'limits' | 'urls'> {
  return {
    bucket: config.r2_bucket ?? '',
    keys: Object.entries(config.api_keys ?? {}).map(([name, text]) => {
      const mask = masks[name] ?? null;
      return { id: newRowId(), name, mask, value: text === mask ? null : text };
    }),
    limits: Object.entries(config.rate_limits ?? {}).map(([name, { rpm, tpm }]) => ({
      id: newRowId(),
      name,
      rpm: String(rpm),
      tpm: tpm === undefined ? '' : String(tpm),
    })),
    urls: Object.entries(config.worker_urls ?? {}).map(([name, url]) => ({
      id: newRowId(),
      name,
      url,
    })),
  };
}

const limitOf = ({ rpm, tpm }: LimitRow): RateLimit =>
  tpm === '' ? { rpm: Number(rpm) } : { rpm: Number(rpm), tpm: Number(tpm) };

/** The configuration as the draft has it, stored keys as their masks. */
export function configOf(draft: Draft): Required<InstanceConfig> {
  return {
    api_keys: Object.fromEntries(
      draft.keys.map(({ name, mask, value }) => [name, value ?? mask ?? '']),
    ),
    rate_limits: Object.fromEntries(draft.limits.map((row) => [row.name, limitOf(row)])),
    worker_urls: Object.fromEntries(draft.urls.map(({ name, url }) => [name, url])),
    r2_bucket: draft.bucket === '' ? null : draft.bucket,
  };
}

export function newInstanceOf(draft: Draft): NewInstance {
  return {
    ...(draft.instanceId === '' ? {} : { instance_id: draft.instanceId }),
    org_id: draft.orgId,
    name: draft.name.trim(),
    config: configOf(draft),
  };
}

/** Texts and limits, whichever order a limit's fields have. */
const isSame = (one: unknown, other: unknown): boolean =>
  JSON.stringify(one, ['rpm', 'tpm']) === JSON.stringify(other, ['rpm', 'tpm']);

/** What is new or different in `after`, and null for what is gone from it. */
function mapChange<Value>(
  before: Readonly<Record<string, Value>>,
  after: Readonly<Record<string, Value>>,
): Record<string, Value | null> | undefined {
  const change: Record<string, Value | null> = {};
  for (const [name, value] of Object.entries(after)) {
    if (!isSame(before[name], value)) {
      change[name] = value;
    }
  }
  for (const name of Object.keys(before)) {
    if (!Object.hasOwn(after, name)) {
      change[name] = null;
    }
  }
  return Object.keys(change).length === 0 ? undefined : change;
}

/** Only what differs from `instance`, so that a key that nobody touched is not sent, masked or otherwise. */
export function changeOf(instance: Instance, draft: Draft): InstanceChange | null {
  const after = configOf(draft);
  const config: ConfigChange = {};
  const keys = mapChange(instance.api_keys, after.api_keys);
  const limits = mapChange(instance.rate_limits, after.rate_limits);
  const urls = mapChange(instance.worker_urls, after.worker_urls);
  if (keys !== undefined) config.api_keys = keys;
  if (limits !== undefined) config.rate_limits = limits;
  if (urls !== undefined) config.worker_urls = urls;
  if (after.r2_bucket !== instance.r2_bucket) config.r2_bucket = after.r2_bucket;

  const change: InstanceChange = {};
  if (draft.name.trim() !== instance.name) change.name = draft.name.trim();
  if (Object.keys(config).length > 0) change.config = config;
  return Object.keys(change).length === 0 ? null : change;
}

export function problemsOf(draft: Draft, { isNew }: { isNew: boolean }): Problems {
  const problems: Problems = {};
  const note = (field: string, problem: Problem) => {
    if (problem !== undefined) {
      problems[field] = problem;
    }
  };
  const noteNames = (map: string, rows: readonly { id: number; name: string }[]) => {
    const seen = new Set<string>();
    for (const { id, name } of rows) {
      note(
        `${map}.${id}.name`,
        seen.has(name) ? 'This name is there twice.' : entryNameProblem(name),
      );
      seen.add(name);
    }
    note(map, rows.length > ENTRIES_MAX ? `There may be ${ENTRIES_MAX} entries.` : undefined);
  };

  note('name', nameProblem(draft.name));
  if (isNew) {
    note('org_id', draft.orgId === '' ? 'Choose an organisation.' : undefined);
    note('instance_id', draft.instanceId === '' ? undefined : identifierProblem(draft.instanceId));
  }
  note('r2_bucket', draft.bucket === '' ? undefined : bucketProblem(draft.bucket));
  noteNames('api_keys', draft.keys);
  noteNames('rate_limits', draft.limits);
  noteNames('worker_urls', draft.urls);
  for (const { id, mask, value } of draft.keys) {
    const isStored = value === null && mask !== null;
    note(`api_keys.${id}.value`, isStored ? undefined : providerKeyProblem(value ?? ''));
  }
  for (const { id, rpm, tpm } of draft.limits) {
    note(`rate_limits.${id}.rpm`, wholeNumberProblem(rpm, RPM_MAX));
    note(`rate_limits.${id}.tpm`, tpm === '' ? undefined : wholeNumberProblem(tpm, TPM_MAX));
  }
  for (const { id, url } of draft.urls) {
    note(`worker_urls.${id}.url`, workerUrlProblem(url));
  }
  return problems;
}

/** The service names the field that it refuses (`config.rate_limits.ideogram.rpm: ...`): its message goes there. */
export function problemsFromService(message: string, draft: Draft): Problems {
  const problems: Problems = {};
  const rowsOf: Record<string, readonly { id: number; name: string }[]> = {
    api_keys: draft.keys,
    rate_limits: draft.limits,
    worker_urls: draft.urls,
  };
  const lastField: Record<string, string> = { api_keys: 'value', worker_urls: 'url' };
  for (const part of message.split('; ')) {
    const [, path, text] = /^(?:config\.)?([\w.-]+): (.+)$/.exec(part) ?? [];
    if (path === undefined || text === undefined) {
      continue;
    }
    const [field = '', entry, detail] = path.split('.');
    const row = rowsOf[field]?.find(({ name }) => name === entry);
    if (row !== undefined) {
      problems[`${field}.${row.id}.${detail ?? lastField[field] ?? 'name'}`] = text;
    } else {
      problems[field] = text;
    }
  }
  return problems;
}
