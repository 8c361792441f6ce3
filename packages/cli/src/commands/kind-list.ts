import { kinds } from '@virt8ra/contract';
import { nounsOf } from '../noun.js';
import type { Format } from '../output/format.js';
import { tableText } from '../output/table.js';
import type { Terminal } from '../terminal.js';

/** Lists the nouns. Needs no control plane. */
export function kindList(terminal: Terminal, format: Format | undefined): void {
  if (format === 'json') {
    const items = kinds.map((kind) => ({
      kind: kind.kind,
      nouns: nounsOf(kind),
      provider: kind.provider,
      version: kind.version,
      scope: kind.scope,
      writable: kind.writable,
      actions: kind.actions,
      summary: kind.summary,
    }));
    terminal.out(`${JSON.stringify({ items }, null, 2)}\n`);
  } else if (format === 'name') terminal.out(kinds.map((kind) => `${kind.kind}\n`).join(''));
  else {
    const rows = kinds.map((kind) => [kind.kind, nounsOf(kind).slice(1).join(','), kind.scope, kind.summary]);
    terminal.out(tableText(['KIND', 'ALSO', 'SCOPE', 'WHAT IT IS'], rows, terminal.columns));
  }
}
