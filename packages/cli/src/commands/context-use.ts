import { Problem } from '@virt8ra/contract';
import { readContexts, writeContexts } from '../context/context-file.js';
import type { GlobalFlags } from '../session.js';
import type { Terminal } from '../terminal.js';

/** Makes a context the current one; `--tenant` and `--workspace` change where it works. */
export async function contextUse(terminal: Terminal, name: string, flags: GlobalFlags): Promise<void> {
  const { configFolder } = terminal.environment;
  const file = await readContexts(configFolder);
  const context = file.contexts[name];
  if (context === undefined)
    throw new Problem('not-found', `there is no context ${JSON.stringify(name)}`, { facts: { hint: '"virt8ra context list" shows them' } });
  const next = {
    ...context,
    ...(flags.tenant === undefined ? {} : { tenant: flags.tenant }),
    ...(flags.workspace === undefined ? {} : { workspace: flags.workspace }),
  };
  await writeContexts(configFolder, { current: name, contexts: { ...file.contexts, [name]: next } });
  terminal.out(`now using context ${name} (${context.server})\n`);
}
