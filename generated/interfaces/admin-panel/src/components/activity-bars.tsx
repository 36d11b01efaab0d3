// Requests over time as small bars, the errors among them in their own colour.
import { plural, sum } from '../format';

const BARS_MAX = 48;
const HEIGHT = 40;

/** Neighbouring buckets added up until they fit. */
export function condense(numbers: readonly number[], barsMax = BARS_MAX): number[] {
  const size = Math.max(1, Math.ceil(numbers.length / barsMax));
  return Array.from({ length: Math.ceil(numbers.length / size) }, (_, index) =>
    sum(numbers.slice(index * size, (index + 1) * size)),
  );
}

export function ActivityBars({
  requests,
  errors,
  period,
}: {
  requests: readonly number[];
  errors: readonly number[];
  period: string;
}) {
  const bars = condense(requests);
  const failed = condense(errors);
  const highest = Math.max(1, ...bars);
  const heightOf = (count: number) => (count === 0 ? 0 : Math.max(2, (count / highest) * HEIGHT));
  return (
    <svg
      role="img"
      aria-label={`${plural(sum(requests), 'request')}, ${plural(sum(errors), 'error')} in ${period}`}
      viewBox={`0 0 ${bars.length * 4} ${HEIGHT}`}
      preserveAspectRatio="none"
      className="block h-10 w-full"
    >
      {bars.map((count, index) => {
        const height = heightOf(count);
        const failedHeight = Math.min(height, heightOf(failed[index] ?? 0));
        const x = index * 4 + 0.5;
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: a bar is its place in time
          <g key={index}>
            <rect x={x} y={HEIGHT - 1} width="3" height="1" className="fill-line" />
            <rect x={x} y={HEIGHT - height} width="3" height={height} className="fill-accent" />
            <rect
              x={x}
              y={HEIGHT - failedHeight}
              width="3"
              height={failedHeight}
              className="fill-danger"
            />
          </g>
        );
      })}
    </svg>
  );
}
