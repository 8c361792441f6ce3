import type { ScaleRow } from './scale.js';

const columns = ['get', 'put', 'list', 'labels', 'watch'] as const;
/** How much more the largest collection may cost than the smallest. */
export const allowedRatio = 1.5;

export interface Ratio {
  readonly resources: number;
  readonly what: (typeof columns)[number];
  readonly ratio: number;
}

/** Of medians, to those of the first row. */
export function ratiosOf(rows: readonly ScaleRow[]): readonly Ratio[] {
  const [first] = rows;
  if (first === undefined) return [];
  return rows.flatMap((row) =>
    columns.map((what) => ({
      resources: row.resources,
      what,
      ratio: Math.round((row[what].medianMs / first[what].medianMs) * 100) / 100,
    })),
  );
}

/** Medians in ms, 99th percentiles and the ratio to the first row in brackets. */
export function tableOf(rows: readonly ScaleRow[]): string {
  const ratios = ratiosOf(rows);
  const cell = (row: ScaleRow, what: (typeof columns)[number]) => {
    const ratio = ratios.find((entry) => entry.resources === row.resources && entry.what === what)?.ratio ?? 1;
    return `${row[what].medianMs.toFixed(1)} (${row[what].p99Ms.toFixed(0)}, ${ratio.toFixed(2)}x)`;
  };
  const lines = [
    ['resources', 'GET', 'PUT', 'page', 'page by label', 'write to watch', 'server'],
    ...rows.map((row) => [String(row.resources), ...columns.map((what) => cell(row, what)), `${row.serverMiB.toFixed(0)} MiB`]),
  ];
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines.map((line) => line.map((word, column) => word.padStart(widths[column] ?? 0)).join('  ')).join('\n');
}
