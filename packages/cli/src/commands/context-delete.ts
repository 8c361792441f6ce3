import { Problem } from '@virt8ra/contract';
import { readContexts, writeContexts } from '../context/context-file.js';
import type { Terminal } from '../terminal.js';

/** Forgets a context and its token. */
export async function contextDelete(terminal: Terminal, name: string): Promise<void> {
  const { configFolder } = terminal.environment;
  const file = await readContexts(configFolder);
  if (file.contexts[name] === undefined)
    throw new Problem('not-found', `there is no context ${JSON.stringify(name)}`, { facts: { hint: '"virt8ra context list" shows them' } });
  const contexts = Object.fromEntries(Object.entries(file.contexts).filter(([each]) => each !== name));
  const current = file.current === name ? {} : { ...(file.current === undefined ? {} : { current: file.current }) };
  await writeContexts(configFolder, { ...current, contexts });
  terminal.out(`context ${name} deleted\n`);
}
