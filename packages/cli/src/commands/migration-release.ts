import { migration } from '@virt8ra/contract';
import { awaitGoal, goalFromText } from '../await-resource.js';
import { addressOf, type Session, titleOf } from '../session.js';

/** Gives the way back of a move up. With `wait`, ends when nothing of it is left. Raises `conflict` when there is none. */
export async function migrationRelease(session: Session, word: string, flags: { readonly wait?: boolean }): Promise<void> {
  const target = { kind: migration, address: addressOf(session, migration, word.replace(/^migrations?\//, '')) };
  await session.client.act(migration, target.address, 'release');
  if (flags.wait === true) await awaitGoal(session, target, goalFromText('phase=done'));
  session.terminal.out(`${titleOf(target)} ${flags.wait === true ? 'keeps no way back any more' : 'release asked for'}\n`);
}
