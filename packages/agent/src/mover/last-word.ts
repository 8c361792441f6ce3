import { Problem, toProblem } from '@virt8ra/contract/plain';
import { diskFull, isDiskFull } from '../disk/room.js';

/** What a mover that ends with `thrown` says of it: Problem exhausted with figures when `directory` had no room. */
export async function lastWord(thrown: unknown, directory: string): Promise<Problem> {
  const isTold = thrown instanceof Problem && thrown.kind === 'exhausted';
  return !isTold && isDiskFull(thrown) ? await diskFull(directory, 0, thrown) : toProblem(thrown);
}
