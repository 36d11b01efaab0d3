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
import { NoData } from './chart-card';

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
  /** Said over the chart, which stays, while there is nothing in it. */
  empty: string | null;
}

export function ChartCanvas<Type extends ChartType>({ configuration, label, empty }: Props<Type>) {
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
    <div className={`relative min-w-0 ${empty === null ? 'h-60' : 'h-36 sm:h-60'}`}>
      <canvas
        ref={canvas}
        role="img"
        aria-label={label}
        className={empty === null ? undefined : 'invisible'}
      />
      {empty === null ? null : <NoData>{empty}</NoData>}
    </div>
  );
}
