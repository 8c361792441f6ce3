import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, createClient } from '@virt8ra/client';
import { type Program, startProgram } from './program.js';

/** A server on a state directory of its own. */
export interface Served {
  readonly client: Client;
  readonly url: string;
  readonly token: string;
  readonly program: Program;
  /** Its state directory. */
  readonly state: string;
  readonly readySeconds: number;
}

/** A folder for one run, which the database's user can pass. */
export async function benchFolder(): Promise<{ readonly path: string; remove(): void }> {
  const path = mkdtempSync(join(tmpdir(), 'virt8ra-bench-'));
  await chmod(path, 0o711);
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export async function serve(root: string, folder: string): Promise<Served> {
  const state = join(folder, 'server');
  const begin = performance.now();
  const program = startProgram(join(root, 'packages/server/dist/main.js'), [
    ...['--state', state, '--api-listen', '127.0.0.1:0', '--agents-listen', '127.0.0.1:0', '--log-level', 'warn'],
  ]);
  const ready = await program.said(/is ready at (\S+) after/, 60);
  const readySeconds = (performance.now() - begin) / 1000;
  const url = ready[1] ?? '';
  const token = readFileSync(join(state, 'admin-token'), 'utf8').trim();
  return { client: createClient({ server: url, token, patienceSeconds: 60 }), url, token, program, state, readySeconds };
}
