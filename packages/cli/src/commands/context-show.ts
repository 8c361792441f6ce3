import { type GlobalFlags, openSession } from '../session.js';
import type { Terminal } from '../terminal.js';

/** Shows what is in use now, flags and environment included; the token stays hidden. */
export async function contextShow(terminal: Terminal, flags: GlobalFlags): Promise<void> {
  const session = await openSession(terminal, flags);
  const fields = {
    context: session.contextName,
    server: session.client.server,
    tenant: session.tenant,
    workspace: session.workspace,
  };
  if (flags.output === 'json') terminal.out(`${JSON.stringify(fields, null, 2)}\n`);
  else
    terminal.out(
      Object.entries(fields)
        .map(([key, value]) => `${`${key}:`.padEnd(11)} ${value ?? '-'}\n`)
        .join(''),
    );
}
