// One chart on one canvas for as long as it is shown: new data change the chart, they never make another.
import {
  ArcElement,
  BarController,
  BarElement,
  CategoryScale,
  Chart,
  type ChartConfiguration,
  type ChartType,
  LinearScale,
  LineController,
  LineElement,
  PieController,
  PointElement,
  Tooltip,
} from 'chart.js';
import { useEffect, useRef } from 'react';

Chart.register(
  ArcElement,
  BarController,
  BarElement,
  CategoryScale,
  LinearScale,
  LineController,
  LineElement,
  PieController,
  PointElement,
  Tooltip,
);

interface Props<Type extends ChartType> {
  configuration: ChartConfiguration<Type, (number | null)[], string>;
  /** What the chart says, for those who do not see it. */
  label: string;
}

export function ChartCanvas<Type extends ChartType>({ configuration, label }: Props<Type>) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const chart = useRef<Chart<Type, (number | null)[], string> | null>(null);
  useEffect(
    () => () => {
      chart.current?.destroy();
      chart.current = null;
    },
    [],
  );
  useEffect(() => {
    if (chart.current === null) {
      if (canvas.current !== null) {
        chart.current = new Chart(canvas.current, configuration);
      }
      return;
    }
    chart.current.data = configuration.data;
    if (configuration.options !== undefined) {
      chart.current.options = configuration.options;
    }
    chart.current.update('none');
  }, [configuration]);
  return (
    <div className="relative h-60 min-w-0">
      <canvas ref={canvas} role="img" aria-label={label} />
    </div>
  );
}
