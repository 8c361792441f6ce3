import { type MigrationSpec, migration, Problem } from '@virt8ra/contract';
import { kindOfEnd, reasonOf } from '../await-resource.js';
import { followMove } from '../follow-move.js';
import { measuredLines } from '../output/move-text.js';
import { printResources } from '../output/print-resources.js';
import { durationText } from '../output/units.js';
import { addressOf, type Session, titleOf } from '../session.js';

export interface ReturnFlags {
  readonly mode?: MigrationSpec['mode'];
  readonly detach?: boolean;
}

/**
 * Brings a moved instance back and shows how it goes. An interrupt leaves it returning; asked for again it is followed. Raises `cancelled` when it
 * was called off, `exhausted` when a disk was full, `internal` when it was undone for another reason: the instance is then where it was.
 */
export async function migrationReturn(session: Session, word: string, flags: ReturnFlags): Promise<void> {
  const { terminal, client } = session;
  const target = { kind: migration, address: addressOf(session, migration, word.replace(/^migrations?\//, '')) };
  const title = titleOf(target);
  await client.act(migration, target.address, 'return', { body: flags.mode === undefined ? {} : { mode: flags.mode } });
  if (flags.detach === true) {
    terminal.out(`${title} returns\n  follow: virt8ra wait migration ${target.address.name} --for phase=brought-back\n`);
    return;
  }
  const ended = await followMove(
    session,
    target,
    ({ status }) => status?.phase === 'brought-back' || (status?.wayBack?.asked === undefined && status?.return?.problem !== undefined),
  );
  const { status } = ended;
  const { problem, problemCode, startedAt, finishedAt, digests = [], mode } = status?.return ?? {};
  if (status?.phase !== 'brought-back') {
    const reason = problem ?? reasonOf(ended) ?? 'no reason given';
    const kind = /cancel/i.test(reason) ? 'cancelled' : kindOfEnd(problemCode);
    throw new Problem(
      kind,
      `the return of ${title} was undone: ${reason}; the instance is at ${status?.to?.site ?? 'its site'}, and its way back is open`,
      {
        facts: { hint: `virt8ra describe ${title}` },
      },
    );
  }
  if (session.format === 'table' || session.format === 'wide') {
    const seconds = startedAt === undefined || finishedAt === undefined ? 0 : (Date.parse(finishedAt) - Date.parse(startedAt)) / 1000;
    const { site, host } = status.wayBack?.at ?? {};
    terminal.out(`${title} is back at ${site ?? 'its site'} on ${host ?? 'its host'} after ${durationText(seconds)} (${mode ?? 'warm'})\n`);
    terminal.out(
      measuredLines(status.return ?? {})
        .map((line) => `${line}\n`)
        .join(''),
    );
  } else await printResources(session, migration, [ended], { single: true });
  const unequal = digests.filter(({ equal }) => !equal);
  if (unequal.length > 0)
    throw new Problem('internal', `digests differ after the return of ${title}: disk ${unequal.map(({ disk }) => disk).join(', ')}`);
}
