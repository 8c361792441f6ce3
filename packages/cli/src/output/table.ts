import { stripVTControlCharacters } from 'node:util';

/** Shapes rows into aligned columns. `columns` is the width of the terminal: wider tables lose the end of their widest cells. */
export function tableText(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  columns: number | undefined,
  paint?: CellPaint,
): string {
  const widths = tableWidths(header, rows, columns);
  return rowText(header, widths) + rows.map((row) => rowText(row, widths, paint)).join('');
}

/** Colours a cell after its width has been settled. */
export type CellPaint = (cell: string) => string;

/** Width of every column, fitted to the terminal. */
export function tableWidths(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  columns: number | undefined,
): readonly number[] {
  const widths = header.map((title, column) => rows.reduce((most, row) => Math.max(most, width(plain(row[column] ?? ''))), title.length));
  shrink(widths, header, columns);
  return widths;
}

/** One line of a table whose widths are known, as when rows arrive over time. */
export function rowText(row: readonly string[], widths: readonly number[], paint: CellPaint = (cell) => cell): string {
  const cells = row.map((cell, column) => {
    const text = Array.from(plain(cell));
    const room = widths[column] ?? 0;
    const cut = text.length > room ? `${text.slice(0, Math.max(0, room - 1)).join('')}…` : text.join('');
    return paint(cut) + (column === row.length - 1 ? '' : ' '.repeat(Math.max(0, room - width(cut))));
  });
  return `${cells.join('  ').trimEnd()}\n`;
}

const narrowest = 6;

function shrink(widths: number[], header: readonly string[], columns: number | undefined): void {
  if (columns === undefined) return;
  let excess = widths.reduce((sum, each) => sum + each, 0) + 2 * (widths.length - 1) - columns;
  while (excess > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    const floor = Math.max(narrowest, header[widest]?.length ?? 0);
    const current = widths[widest] ?? 0;
    if (current <= floor) return;
    widths[widest] = current - 1;
    excess -= 1;
  }
}

function width(text: string): number {
  return Array.from(text).length;
}

/** What others wrote must not move the cursor or colour the screen. */
export function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this takes out
  return stripVTControlCharacters(text).replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}
