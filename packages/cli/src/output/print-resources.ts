import type { Kind, Resource } from '@virt8ra/contract';
import type { Session } from '../session.js';
import { paintFor, toneOf } from './colour.js';
import { columnsOf } from './columns.js';
import { tableText } from './table.js';
import { yamlText } from './yaml.js';

export interface PrintOptions {
  /** True when one resource was asked for by name: JSON and YAML then hold it bare, not in a list. */
  readonly single: boolean;
  readonly acrossWorkspaces?: boolean;
}

/** Prints resources of one kind in the session's format. YAML and JSON can be applied again. */
export async function printResources(session: Session, kind: Kind, items: readonly Resource[], options: PrintOptions): Promise<void> {
  const { terminal, format } = session;
  if (format === 'json') {
    terminal.out(`${JSON.stringify(options.single ? items[0] : { items }, null, 2)}\n`);
  } else if (format === 'yaml') {
    const texts = await Promise.all(items.map((item) => yamlText(item)));
    terminal.out(texts.join('---\n'));
  } else if (format === 'name') {
    terminal.out(items.map((item) => `${kind.kind}/${item.metadata.name}\n`).join(''));
  } else {
    const columns = columnsOf(kind, format === 'wide', options.acrossWorkspaces);
    const now = terminal.now();
    const rows = items.map((item) => columns.map((column) => column.cell(item, now)));
    const paint = paintFor(terminal, 'stdout');
    const titles = columns.map((column) => column.title);
    terminal.out(tableText(titles, rows, terminal.columns, (cell) => paint(toneOf(cell), cell)));
  }
}
