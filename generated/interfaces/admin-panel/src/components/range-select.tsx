// The period that statistics are for.
import { METRIC_RANGES, type MetricRange } from '../api/types';

export const RANGE_NAMES: Record<MetricRange, string> = {
  hour: 'the last hour',
  day: 'the last day',
  week: 'the last week',
};

const RANGE_DEFAULT: MetricRange = 'day';

export const rangeOf = (text: string): MetricRange =>
  METRIC_RANGES.find((range) => range === text) ?? RANGE_DEFAULT;

export function RangeSelect({
  value,
  onChange,
}: {
  value: MetricRange;
  onChange: (range: MetricRange | null) => void;
}) {
  return (
    <fieldset className="inline-flex rounded-lg border border-line bg-surface p-0.5">
      <legend className="sr-only">Statistics for</legend>
      {METRIC_RANGES.map((range) => (
        <label
          key={range}
          className="cursor-pointer rounded-md px-3 py-1.5 text-sm font-medium text-muted capitalize has-checked:bg-accent-soft has-checked:text-accent has-focus-visible:outline-2 has-focus-visible:outline-accent"
        >
          <input
            type="radio"
            name="range"
            className="sr-only"
            checked={value === range}
            onChange={() => onChange(range === RANGE_DEFAULT ? null : range)}
          />
          {range}
        </label>
      ))}
    </fieldset>
  );
}
