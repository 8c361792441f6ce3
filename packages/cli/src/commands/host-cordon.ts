import { host } from '@virt8ra/contract';
import type { Session } from '../session.js';

export type HostVerb = 'cordon' | 'uncordon' | 'maintenance' | 'rekey';

const told: Readonly<Record<HostVerb, string>> = {
  cordon: 'cordoned',
  uncordon: 'uncordoned',
  rekey: 'told to make a new key',
  maintenance: 'cordoned, its agent is told to start nothing',
};

/** Takes hosts out of placement, or back in, or has them change the keys of their tunnels; what runs there goes on running. `maintenance` is for hosts without instances. */
export async function hostCordon(
  session: Session,
  verb: HostVerb,
  names: readonly string[],
  flags: { readonly reason?: string } = {},
): Promise<void> {
  const { reason } = flags;
  for (const word of names) {
    const name = word.replace(/^hosts?\//, '');
    await session.client.act(host, { name }, verb, reason === undefined ? {} : { body: { reason } });
    session.terminal.out(session.format === 'name' ? `host/${name}\n` : `host/${name} ${told[verb]}\n`);
  }
}
