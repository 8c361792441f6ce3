import { Problem } from '@virt8ra/contract';
import { cutoverOfFlag } from '../cutover-flag.js';
import { type Session, targetFromWords, titleOf } from '../session.js';

/** Asks for the cut-over of a migration, as soon as it can or as `at` says. Asking twice is asking once. Raises what the control plane answers. */
export async function migrationCutover(session: Session, word: string, { at }: { readonly at: string }): Promise<void> {
  const target = targetFromWords(session, word.includes('/') ? [word] : ['migration', word]);
  if (!target.kind.actions.includes('cutover')) throw new Problem('invalid-request', `a ${target.kind.kind} has no cut-over`);
  const cutover = cutoverOfFlag('--at', at);
  await session.client.act(target.kind, target.address, 'cutover', cutover === undefined ? {} : { body: { cutover } });
  session.terminal.out(`${titleOf(target)} cut-over asked for\n`);
}
