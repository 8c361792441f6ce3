import { Problem } from '@virt8ra/contract';
import { type GlobalFlags, openSession } from '../session.js';
import type { Terminal } from '../terminal.js';
import { cliVersion } from '../version.js';

/** Versions of the CLI and of the control plane in use, when there is one. */
export async function versionShow(terminal: Terminal, flags: GlobalFlags): Promise<void> {
  const server = await serverVersion(terminal, flags);
  if (flags.output === 'json') {
    terminal.out(`${JSON.stringify({ client: cliVersion(), ...(server === undefined ? {} : { server }) }, null, 2)}\n`);
    return;
  }
  terminal.out(`virt8ra ${cliVersion()}\n`);
  if (server !== undefined) terminal.out(`control plane ${server.url}: API ${server.version}\n`);
}

async function serverVersion(
  terminal: Terminal,
  flags: GlobalFlags,
): Promise<{ readonly url: string; readonly version: string } | undefined> {
  try {
    const { client } = await openSession(terminal, flags);
    return { url: client.server, version: (await client.wellKnown()).version };
  } catch (error) {
    if (error instanceof Problem && error.kind === 'unauthorized') return undefined;
    throw error;
  }
}
