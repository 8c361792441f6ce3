import type { ResourceOf } from '@virt8ra/client';
import { migration, Problem, type Progress } from '@virt8ra/contract';
import { createLiveLine } from './output/live-line.js';
import { type Session, type Target, titleOf } from './session.js';

type Migration = ResourceOf<typeof migration>;

/** Shows how a move goes until it is over. An interrupt leaves it going on, and says so with `hint`. */
export async function followMove(
  session: Session,
  target: Target,
  isOver: (resource: Migration) => boolean,
  hint = '',
): Promise<Migration> {
  const { terminal } = session;
  const line = createLiveLine(terminal);
  let shown: Progress | undefined;
  let phase: string | undefined;
  try {
    const follow = session.patientClient.follow(migration, target.address, {
      signal: terminal.signal,
      onCut: (problem) => line.note(`${problem.message}; the move goes on, connecting again`),
    });
    for await (const sighting of follow) {
      const resource = sighting.resource;
      if (resource === undefined) throw new Problem('not-found', `${titleOf(target)} was deleted`);
      const now = resource.status?.phase;
      if (sighting.progress !== undefined && sighting.progress !== shown) line.show(sighting.progress);
      else if (now !== undefined && now !== phase && now !== shown?.phase) line.show(emptyProgress(now));
      shown = sighting.progress;
      phase = now ?? phase;
      if (isOver(resource)) return resource;
    }
    throw new Problem('cancelled', 'interrupted');
  } catch (error) {
    if (terminal.signal.aborted) line.note(`${titleOf(target)} goes on\n${hint}`.trimEnd());
    throw error;
  } finally {
    line.end();
  }
}

function emptyProgress(phase: string): Progress {
  return { phase, bytes: 0, totalBytes: 0, bytesPerSecond: 0, etaSeconds: null, updatedAt: '' };
}
