import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Pool } from 'pg';

/** The database that a server runs in its state directory, behind its back: for who fills it faster than the API takes it. */
export async function openStateDatabase(stateDirectory: string): Promise<Pool> {
  const read = async (...path: readonly string[]): Promise<string> => await readFile(join(stateDirectory, 'pg', ...path), 'utf8');
  const password = (await read('password')).trim();
  // Line 5 is the directory of its socket (postmaster.pid).
  const host = (await read('data', 'postmaster.pid')).split('\n')[4] ?? '';
  return new Pool({ host, port: 5432, user: 'virt8ra', database: 'virt8ra', password, max: 1 });
}
