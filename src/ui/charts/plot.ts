import type uPlot from 'uplot';
import { formatRate } from '../format';

/** One line of a chart. */
export interface LineStyle {
  label: string;
  /** A custom property of the theme, such as `--chart-1`. */
  color: string;
  width?: number;
  dash?: number[];
  /** Drawn faintly, behind the others. */
  faint?: boolean;
  /** Joins its points over the steps where it has none, and marks them. */
  sparse?: boolean;
}

/** The colour a custom property stands for here and now: a canvas does not know `light-dark()`. */
export function resolveColor(host: HTMLElement, property: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${property})`;
  host.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

interface PlotOptions {
  host: HTMLElement;
  width: number;
  height: number;
  lines: LineStyle[];
  logarithmic: boolean;
  onCursor: (index: number | null) => void;
  onZoom: (zoomed: boolean) => void;
}

/** uPlot's options for a chart of the page: no legend of its own, a cursor shared by all charts, zoom by dragging. */
export function plotOptions({ host, width, height, lines, logarithmic, onCursor, onZoom }: PlotOptions): uPlot.Options {
  const muted = resolveColor(host, '--muted');
  const grid = { stroke: resolveColor(host, '--line'), width: 1 };
  const { fontFamily } = getComputedStyle(host);
  const axis = { stroke: muted, grid, ticks: { show: false }, font: `12px ${fontFamily}` };
  return {
    width,
    height,
    legend: { show: false },
    padding: [8, 12, 0, 0],
    cursor: { sync: { key: 'hone' }, drag: { x: true, y: false }, points: { size: 6 } },
    scales: { x: { time: false }, y: { distr: logarithmic ? 3 : 1 } },
    axes: [
      { ...axis, size: 28, space: 44, values: (_, splits) => splits.map(shortNumber) },
      { ...axis, size: 56, space: 32, values: (_, splits) => splits.map(tickLabel) },
    ],
    series: [
      {},
      ...lines.map((line) => {
        const color = resolveColor(host, line.color);
        return {
          label: line.label,
          stroke: color,
          width: line.width ?? 2,
          alpha: line.faint ? 0.35 : 1,
          points: { show: line.sparse ?? false, size: 6, fill: color },
          spanGaps: line.sparse ?? false,
          ...(line.dash && { dash: line.dash }),
        };
      }),
    ],
    hooks: {
      setCursor: [(plot) => onCursor(plot.cursor.idx ?? null)],
      setSelect: [(plot) => onZoom(plot.select.width > 0)],
    },
  };
}

/** A y axis label: small values as people write rates, none where a logarithmic axis leaves a line without one. */
function tickLabel(value: number | null): string {
  if (value === null) return '';
  return value !== 0 && Math.abs(value) < 0.01 ? formatRate(value) : shortNumber(value);
}

/** 12000 → "12k": axis labels stay narrow. */
function shortNumber(value: number): string {
  return Math.abs(value) >= 10_000 ? `${Number((value / 1000).toFixed(1))}k` : String(Number(value.toFixed(2)));
}

/** A chart as a PNG at twice its size, with its title above and a solid background. */
export function chartPng(plot: uPlot, host: HTMLElement, title: string): Promise<Blob | null> {
  const source = plot.ctx.canvas;
  const scale = 2;
  const cssWidth = plot.width;
  const head = 36;
  const canvas = document.createElement('canvas');
  canvas.width = cssWidth * scale;
  canvas.height = (plot.height + head) * scale;
  const context = canvas.getContext('2d')!;
  context.scale(scale, scale);
  context.fillStyle = resolveColor(host, '--bg');
  context.fillRect(0, 0, cssWidth, plot.height + head);
  context.fillStyle = resolveColor(host, '--text');
  context.font = `600 14px ${getComputedStyle(host).fontFamily}`;
  context.fillText(title, 12, 24);
  context.drawImage(source, 0, head, cssWidth, plot.height);
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
}
