import { endedBecause } from '@virt8ra/contract';
import type { Session } from '../session.js';
import { openLocalPort, portOfWord, untilInterrupted } from '../stream/local-port.js';
import { instanceAddress } from './instance-port-forward.js';

export interface VncFlags {
  readonly port?: string;
}

/** Offers the screen of an instance on a port of this machine until the interrupt. */
export async function instanceVnc(session: Session, name: string, flags: VncFlags): Promise<void> {
  const { client, terminal } = session;
  const address = instanceAddress(session, name);
  const local = flags.port === undefined ? 0 : portOfWord(flags.port, 0);
  const open = async () => await client.stream(address, 'vnc');
  // An instance without a screen is told here, and not by a viewer that shows nothing.
  const { carrier } = await open();
  carrier.end(endedBecause('closed', 'it was only looked whether there is one'));
  const port = await openLocalPort(terminal, local, `the screen of ${name}`, open);
  try {
    terminal.out(`${port.address}\n`);
    terminal.err(`Open it with a VNC viewer; it is the screen of ${name} until you interrupt this.\n`);
    await untilInterrupted(terminal.signal);
  } finally {
    port.close();
  }
}
