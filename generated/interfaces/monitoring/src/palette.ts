// Colours of series: apart in lightness and on the blue-yellow axis, so that red and green need not be told apart; dashes help beyond.

const LIGHT = [
  '#1764ab',
  '#d9730d',
  '#7a3f98',
  '#0f8f8a',
  '#9a7400',
  '#c0417f',
  '#4d5a63',
  '#3f8fcf',
];
const DARK = [
  '#6cb4ff',
  '#ffa94d',
  '#cf9cf0',
  '#4fd1c5',
  '#e8cd5a',
  '#ff8fc4',
  '#aab7c0',
  '#3d87d6',
];
const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3]];

export interface ChartColors {
  ink: string;
  muted: string;
  line: string;
  surface: string;
}

/** As in theme.css, which a canvas cannot read `light-dark()` from. */
export const chartColors = (dark: boolean): ChartColors =>
  dark
    ? { ink: '#edf1f2', muted: '#a3aeb5', line: '#2a3136', surface: '#161a1d' }
    : { ink: '#14191b', muted: '#545e64', line: '#e6e7e2', surface: '#ffffff' };

export function seriesColor(index: number, dark: boolean): string {
  const colors = dark ? DARK : LIGHT;
  return colors[index % colors.length] ?? '#808080';
}

/** Neighbours differ; after each round of colours the dashes move on, so that a pair comes back only after 32. */
export function seriesDash(index: number): number[] {
  const round = Math.floor(index / LIGHT.length);
  return DASHES[(index + round) % DASHES.length] ?? [];
}
