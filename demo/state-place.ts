import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { removeNetworksOf } from './own-networks.js';
import { endProcessesOn } from './own-processes.js';

/** Marks a directory that the demo made and may remove. */
const mark = 'made-by-the-demo';

/** As root, the database and guests run as users of their own, who must be able to pass every directory above their files. */
export function statePlace(root: string, uid: number): string {
  const inside = join(root, '.state', 'demo');
  return uid !== 0 || othersPass(root) ? inside : '/var/lib/virt8ra-demo';
}

/** An empty state directory; what an earlier demo left there, running or not, is ended and removed. */
export async function prepareState(directory: string, uid: number): Promise<{ readonly leftovers: number }> {
  let leftovers = 0;
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    if (!existsSync(join(directory, mark))) {
      throw new Problem('conflict', `${directory} was not made by the demo: move it away`);
    }
    leftovers = await endProcessesOn(directory);
    removeNetworksOf(directory);
    rmSync(directory, { recursive: true, force: true });
  }
  mkdirSync(directory, { recursive: true });
  if (uid === 0) for (const path of [dirname(directory), directory]) chmodSync(path, 0o755);
  writeFileSync(join(directory, mark), '');
  return { leftovers };
}

function othersPass(path: string): boolean {
  for (let at = resolve(path); ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}
