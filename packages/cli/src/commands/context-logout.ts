import { Problem } from '@virt8ra/contract';
import { readContexts, writeContexts } from '../context/context-file.js';
import { revokeToken } from '../login/oidc-login.js';
import type { GlobalFlags } from '../session.js';
import type { Terminal } from '../terminal.js';

/** Forgets the token of a context, and has its issuer forget what would renew it. */
export async function contextLogout(terminal: Terminal, flags: GlobalFlags): Promise<void> {
  const { configFolder } = terminal.environment;
  const file = await readContexts(configFolder);
  const name = flags.context ?? file.current;
  const context = name === undefined ? undefined : file.contexts[name];
  if (name === undefined || context === undefined) throw new Problem('not-found', 'there is no context to log out of');
  const { login, token: _, ...rest } = context;
  await writeContexts(configFolder, { ...file, contexts: { ...file.contexts, [name]: { ...rest, token: '' } } });
  terminal.out(`logged out of ${context.server}; context ${name} stays without a token\n`);
  if (login?.refreshToken === undefined) return;
  // It is forgotten here already, whatever the issuer answers.
  const told = await revokeToken({ ...login, refreshToken: login.refreshToken }, terminal.signal).catch(() => false);
  if (!told) terminal.err(`${login.name} was not told: what it gave lasts until it runs out\n`);
}
