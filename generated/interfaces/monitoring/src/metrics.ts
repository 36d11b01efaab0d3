// What `GET /metrics` answers, and the numbers that the page derives from it.

export const RANGES = ['hour', 'day', 'week'] as const;
export type Range = (typeof RANGES)[number];

export type Value = number | null;

export interface InstanceSeries {
  instance_id: string;
  requests: number[];
  errors: number[];
  rate_limited: number[];
  /** Null where nothing was generated. */
  response_ms: Value[];
}

export interface ProviderUsage {
  provider: string;
  requests: number;
  tokens: number;
  cost_microdollars: number;
}

export interface Metrics {
  range: Range;
  from: string;
  to: string;
  bucket_seconds: number;
  series: InstanceSeries[];
  totals: {
    requests: number;
    errors: number;
    rate_limited: number;
    error_rate: Value;
    response_ms: Value;
    cost_microdollars: number;
  };
  providers: ProviderUsage[];
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

/** Enough to tell metrics from another answer; the contract vouches for the rest. */
export function isMetrics(value: unknown): value is Metrics {
  return (
    isRecord(value) &&
    typeof value.from === 'string' &&
    typeof value.bucket_seconds === 'number' &&
    Array.isArray(value.series) &&
    Array.isArray(value.providers) &&
    isRecord(value.totals)
  );
}

export const sum = (numbers: readonly number[]): number =>
  numbers.reduce((total, number) => total + number, 0);

/** The start of each bucket, in milliseconds since 1970. */
export function bucketTimes(metrics: Metrics): number[] {
  const fromMs = Date.parse(metrics.from);
  const bucketMs = metrics.bucket_seconds * 1000;
  const count = Math.round((Date.parse(metrics.to) - fromMs) / bucketMs);
  return Array.from({ length: count }, (_, index) => fromMs + index * bucketMs);
}

/** A share of nothing is no number. */
export const share = (part: number, whole: number): Value => (whole === 0 ? null : part / whole);

export const errorRates = (series: InstanceSeries): Value[] =>
  series.requests.map((requests, index) => share(series.errors[index] ?? 0, requests));

/** The newest number there is, and its bucket. */
export function latest(values: readonly Value[]): { index: number; value: number } | null {
  const index = values.findLastIndex((value) => value !== null);
  const value = values[index];
  return value == null ? null : { index, value };
}

/** The share of errors over all instances in the newest bucket with traffic. */
export function currentErrorRate(metrics: Metrics): { index: number; value: number } | null {
  const rates = bucketTimes(metrics).map((_, index) =>
    share(
      sum(metrics.series.map(({ errors }) => errors[index] ?? 0)),
      sum(metrics.series.map(({ requests }) => requests[index] ?? 0)),
    ),
  );
  return latest(rates);
}
