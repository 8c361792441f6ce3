import type { Session } from '../session.js';
import { portOfWord } from '../stream/local-port.js';
import { instanceAddress } from './instance-port-forward.js';

export interface SshFlags {
  readonly login?: string;
  readonly port: string;
}

/** Runs ssh with a way through the control plane; answers its exit code. */
export async function instanceSsh(session: Session, name: string, words: readonly string[], flags: SshFlags): Promise<number> {
  const { terminal, contextName, tenant, workspace } = session;
  const address = instanceAddress(session, name);
  const port = portOfWord(flags.port);
  const global = [
    ...(contextName === undefined ? [] : ['--context', contextName]),
    ...(tenant === undefined ? [] : ['--tenant', tenant]),
    ...(workspace === undefined ? [] : ['--workspace', workspace]),
  ];
  const proxy = [...terminal.self, ...global, 'port-forward', address.name, '--stdio', String(port)];
  return await terminal.runForeground('ssh', [
    ...['-o', `ProxyCommand=${proxy.map(quoted).join(' ')}`],
    // Keys of hosts are remembered by instance: every one of them is reached at the same place.
    ...['-o', `HostKeyAlias=${address.name}.${address.workspace}.${address.tenant}.virt8ra`],
    ...(flags.login === undefined ? [] : ['-l', flags.login]),
    address.name,
    ...words,
  ]);
}

/** For the shell that ssh gives it to; a percent sign is ssh's own. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`).replaceAll('%', '%%')}'`;
}
