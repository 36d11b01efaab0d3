// In place of Chart.js, which needs a canvas that draws: keeps what it was given.

interface Dataset {
  label?: string;
  data: (number | null)[];
  borderColor?: string;
  pointRadius?: (context: { dataset: Dataset; dataIndex: number }) => number;
}

/** What the tests read of a chart's options. */
interface Options {
  scales?: {
    x: { afterBuildTicks: (axis: { width: number; ticks: { value: number }[] }) => void };
    y: {
      ticks: { callback: (value: number, index: number, ticks: { value: number }[]) => string };
    };
  };
  plugins: {
    tooltip: {
      callbacks: {
        title?: (items: { dataIndex: number }[]) => string;
        label: (item: { dataset: Dataset; parsed: { y: number | null } | number }) => string;
      };
    };
  };
}

export interface ChartData {
  labels: string[];
  datasets: Dataset[];
}

interface Configuration {
  type: string;
  data: ChartData;
  options: Options;
}

export class Chart {
  static made: Chart[] = [];
  static register(): void {}
  readonly type: string;
  data: ChartData;
  options: Options;
  updates = 0;
  destroyed = false;

  constructor(
    readonly canvas: HTMLCanvasElement,
    { type, data, options }: Configuration,
  ) {
    this.type = type;
    this.data = data;
    this.options = options;
    Chart.made.push(this);
  }

  update(): void {
    this.updates += 1;
  }

  destroy(): void {
    this.destroyed = true;
  }
}

/** The chart on the page whose label begins with this title. */
export function chartOf(title: string): Chart {
  const chart = Chart.made.findLast(({ canvas }) =>
    canvas.getAttribute('aria-label')?.startsWith(`${title}.`),
  );
  if (chart === undefined) {
    throw new Error(`No chart is titled "${title}".`);
  }
  return chart;
}

export const ArcElement = {};
export const BarController = {};
export const BarElement = {};
export const CategoryScale = {};
export const LinearScale = {};
export const LineController = {};
export const LineElement = {};
export const PieController = {};
export const PointElement = {};
export const Tooltip = {};
