import { host } from '@virt8ra/contract';
import type { Session } from '../session.js';

/** Takes hosts out of placement, or back in; what runs there goes on running. */
export async function hostCordon(session: Session, verb: 'cordon' | 'uncordon', names: readonly string[]): Promise<void> {
  for (const word of names) {
    const name = word.replace(/^hosts?\//, '');
    await session.client.act(host, { name }, verb);
    session.terminal.out(session.format === 'name' ? `host/${name}\n` : `host/${name} ${verb}ed\n`);
  }
}
