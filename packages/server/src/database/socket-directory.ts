import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { stateDirectoryHash } from '../config.js';

/** `sun_path` holds 108 bytes with the closing zero. */
const longestSocketPath = 107;
const socketName = '.s.PGSQL.5432';

/**
 * Where PostgreSQL's socket stands: in the state directory, unless its path is too long for a socket; then in /run (root) or
 * $XDG_RUNTIME_DIR. Raises `unsupported` when nothing is short enough.
 */
export function chooseSocketDirectory(
  stateDirectory: string,
  place: { readonly root: boolean; readonly runtimeDirectory: string | undefined },
): string {
  const own = join(stateDirectory, 'pg', 'run');
  const name = `virt8ra-${stateDirectoryHash(stateDirectory)}`;
  const candidates = [own];
  if (place.root) candidates.push(join('/run', name));
  else if (place.runtimeDirectory !== undefined && place.runtimeDirectory !== '') candidates.push(join(place.runtimeDirectory, name));
  const fitting = candidates.find((directory) => Buffer.byteLength(join(directory, socketName)) <= longestSocketPath);
  if (fitting !== undefined) return fitting;
  throw new Problem(
    'unsupported',
    `the path of the state directory is too long: the database's socket in it would have ${Buffer.byteLength(join(own, socketName))} bytes of at most ` +
      `${longestSocketPath}. Choose a shorter state directory${place.root ? '' : ', or set XDG_RUNTIME_DIR'}`,
  );
}
