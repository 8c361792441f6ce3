import { readContexts } from '../context/context-file.js';
import { tableText } from '../output/table.js';
import type { GlobalFlags } from '../session.js';
import type { Terminal } from '../terminal.js';

/** Lists contexts, without their tokens. */
export async function contextList(terminal: Terminal, flags: GlobalFlags): Promise<void> {
  const file = await readContexts(terminal.environment.configFolder);
  const items = Object.entries(file.contexts).map(([name, { server, tenant, workspace }]) => ({
    name,
    current: name === file.current,
    server,
    tenant,
    workspace,
  }));
  if (flags.output === 'json') terminal.out(`${JSON.stringify({ items }, null, 2)}\n`);
  else if (flags.output === 'yaml') {
    const { yamlText } = await import('../output/yaml.js');
    terminal.out(await yamlText({ items }));
  } else if (flags.output === 'name') terminal.out(items.map((item) => `${item.name}\n`).join(''));
  else {
    const rows = items.map((item) => [item.current ? '*' : '', item.name, item.server, item.tenant ?? '-', item.workspace ?? '-']);
    terminal.out(tableText(['', 'NAME', 'SERVER', 'TENANT', 'WORKSPACE'], rows, terminal.columns));
  }
}
