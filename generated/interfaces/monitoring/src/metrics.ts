// What `GET /metrics` answers, and the numbers that the page derives from it.
import {
  array,
  check,
  finite,
  type GenericSchema,
  is,
  minValue,
  nullable,
  number,
  object,
  picklist,
  pipe,
  string,
} from 'valibot';

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

/** Of any answer; the contract has at most 168. */
const BUCKETS_MAX = 1000;

const amount = pipe(number(), finite(), minValue(0));
const value = nullable(amount);
const time = pipe(
  string(),
  check((text) => !Number.isNaN(Date.parse(text))),
);

const metricsSchema: GenericSchema<unknown, Metrics> = pipe(
  object({
    range: picklist(RANGES),
    from: time,
    to: time,
    bucket_seconds: pipe(amount, minValue(1)),
    series: array(
      object({
        instance_id: string(),
        requests: array(amount),
        errors: array(amount),
        rate_limited: array(amount),
        response_ms: array(value),
      }),
    ),
    totals: object({
      requests: amount,
      errors: amount,
      rate_limited: amount,
      error_rate: value,
      response_ms: value,
      cost_microdollars: amount,
    }),
    providers: array(
      object({
        provider: string(),
        requests: amount,
        tokens: amount,
        cost_microdollars: amount,
      }),
    ),
  }),
  check(({ from, to, bucket_seconds: seconds, series }) => {
    const count = bucketCount(from, to, seconds);
    return (
      count >= 1 &&
      count <= BUCKETS_MAX &&
      series.every(({ requests, errors, rate_limited, response_ms }) =>
        [requests, errors, rate_limited, response_ms].every(({ length }) => length === count),
      )
    );
  }),
);

/** Every number that the page shows, and one for each bucket: a chart of anything else would lie or break. */
export const isMetrics = (answer: unknown): answer is Metrics => is(metricsSchema, answer);

export const sum = (numbers: readonly number[]): number =>
  numbers.reduce((total, number) => total + number, 0);

const bucketCount = (from: string, to: string, bucketSeconds: number): number =>
  Math.round((Date.parse(to) - Date.parse(from)) / (bucketSeconds * 1000));

/** The start of each bucket, in milliseconds since 1970. */
export function bucketTimes(metrics: Metrics): number[] {
  const fromMs = Date.parse(metrics.from);
  const bucketMs = metrics.bucket_seconds * 1000;
  const count = bucketCount(metrics.from, metrics.to, metrics.bucket_seconds);
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

/** How many answers stand behind a mean of response times: all but 5xx and 429. Other refusals are few, and in no count. */
const answered = (series: InstanceSeries, index: number): number =>
  Math.max(
    1,
    (series.requests[index] ?? 0) - (series.errors[index] ?? 0) - (series.rate_limited[index] ?? 0),
  );

/** The mean of means, each weighing as much as it has answers; null without any. */
function weighted(means: readonly { mean: Value; weight: number }[]): Value {
  const present = means.flatMap(({ mean, weight }) => (mean === null ? [] : [{ mean, weight }]));
  return share(
    sum(present.map(({ mean, weight }) => mean * weight)),
    sum(present.map(({ weight }) => weight)),
  );
}

/** Over all buckets of an instance. */
export const meanResponse = (series: InstanceSeries): Value =>
  weighted(series.response_ms.map((mean, index) => ({ mean, weight: answered(series, index) })));

/** The response time over all instances in the newest bucket with a successful generation. */
export function currentResponse(metrics: Metrics): { index: number; value: number } | null {
  return latest(
    bucketTimes(metrics).map((_, index) =>
      weighted(
        metrics.series.map((series) => ({
          mean: series.response_ms[index] ?? null,
          weight: answered(series, index),
        })),
      ),
    ),
  );
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
