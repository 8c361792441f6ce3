import { type Address, instance, joinOctets, Problem } from '@virt8ra/contract';
import { addressOf, type Session } from '../session.js';
import { openLocalPort, portOfWord, untilInterrupted } from '../stream/local-port.js';

export interface ForwardFlags {
  readonly stdio?: string;
}

/** Leads ports of this machine to ports of an instance until the interrupt, or standard input and output to one of them until it ends. */
export async function instancePortForward(session: Session, name: string, words: readonly string[], flags: ForwardFlags): Promise<void> {
  const address = instanceAddress(session, name);
  if (flags.stdio !== undefined) {
    if (words.length > 0) throw new Problem('invalid-request', '--stdio joins one port; name no others with it');
    return await forwardStdio(session, address, portOfWord(flags.stdio));
  }
  const pairs = words.map(pairOfWord);
  if (pairs.length === 0) throw new Problem('invalid-request', 'name the ports: LOCAL:REMOTE, such as 8080:80');
  const { client, terminal } = session;
  // Says at once that there is no such instance.
  await client.get(instance, address);
  const opened = [];
  try {
    for (const { local, remote } of pairs) {
      const what = `port ${remote} of ${name}`;
      const open = async () => await client.stream(address, `ports/${remote}`);
      const port = await openLocalPort(terminal, local, what, open);
      opened.push(port);
      terminal.out(`${port.address} leads to ${what}\n`);
    }
    await untilInterrupted(terminal.signal);
  } finally {
    for (const port of opened) port.close();
  }
}

/** The instance a command line names, as `NAME` or `instance/NAME`. */
export function instanceAddress(session: Session, name: string): Address {
  return addressOf(session, instance, name.replace(/^(instances?|vms?)\//, ''));
}

async function forwardStdio({ client, terminal }: Session, address: Address, port: number): Promise<void> {
  const { carrier } = await client.stream(address, `ports/${port}`);
  const ended = await new Promise<{ code: string; message: string }>((resolve) => {
    joinOctets(carrier, terminal.duplex(), { onEnd: resolve });
  });
  if (ended.code !== 'done' && ended.code !== 'closed') throw new Problem('unavailable', `port ${port}: ${ended.message}`);
}

function pairOfWord(word: string): { readonly local: number; readonly remote: number } {
  const [local = '', remote = local, more] = word.split(':');
  if (more !== undefined) throw new Problem('invalid-request', `${JSON.stringify(word)} is not LOCAL:REMOTE`);
  return { local: portOfWord(local, 0), remote: portOfWord(remote) };
}
