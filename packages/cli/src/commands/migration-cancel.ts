import { Problem } from '@virt8ra/contract';
import { awaitGoal } from '../await-resource.js';
import { type Session, targetFromWords, titleOf } from '../session.js';

/** Calls off a move (or, as `image-import/NAME`, an import, as `backup/NAME` a backup, as `host/NAME` a drain). With `wait`, ends when it has returned. */
export async function migrationCancel(session: Session, word: string, flags: { readonly wait?: boolean }): Promise<void> {
  const target = targetFromWords(session, word.includes('/') ? [word] : ['migration', word]);
  if (!target.kind.actions.includes('cancel')) throw new Problem('invalid-request', `a ${target.kind.kind} cannot be cancelled`);
  await session.client.act(target.kind, target.address, 'cancel');
  session.terminal.out(`${titleOf(target)} cancel asked for\n`);
  if (flags.wait !== true) return;
  const phaseOf = (resource: { readonly status?: unknown } | undefined) => {
    const status = resource?.status as { phase?: string; drain?: { phase?: string } } | undefined;
    return status?.phase ?? status?.drain?.phase;
  };
  const ended = await awaitGoal(session, target, {
    text: 'end',
    reached: (resource) =>
      resource === undefined ||
      ['returned', 'kept', 'brought-back', 'failed', 'done', 'refused', 'cancelled', 'drained', 'incomplete'].includes(
        phaseOf(resource) ?? '',
      ),
  });
  const phase = phaseOf(ended) ?? 'gone';
  session.terminal.out(`${titleOf(target)} ${phase}\n`);
  if (phase === 'done' || phase === 'brought-back' || phase === 'drained')
    throw new Problem('conflict', `${titleOf(target)} was done before it could be cancelled`);
}
