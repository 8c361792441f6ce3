import { chmodSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Client, createClient } from '@virt8ra/client';
import { type LongProcess, startLongProcess } from '../demo/long-process.js';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** A folder for a test's programs, with one for their logs, that guests' users can pass. */
export function stateFolder(prefix: string): string {
  const state = mkdtempSync(join(tmpdir(), prefix));
  chmodSync(state, 0o755);
  mkdirSync(join(state, 'logs'));
  return state;
}

export interface ServerApart {
  readonly server: LongProcess;
  readonly client: Client;
  readonly url: string;
  readonly token: string;
}

/** A server in such a folder whose agents dial an address that other machines of the test reach. It is stopped when it does not become ready. */
export async function startServerApart(state: string, agentsAddress: string, signal: AbortSignal): Promise<ServerApart> {
  const server = startLongProcess({
    name: 'the server',
    logFile: join(state, 'logs', 'server.log'),
    arguments: [
      join(root, 'packages/server/dist/main.js'),
      ...['--state', join(state, 'server'), '--api-listen', '127.0.0.1:0', '--agents-listen', `${agentsAddress}:0`],
    ],
  });
  try {
    const [, url = ''] = await server.said(/is ready at (\S+) after/, 120);
    const token = readFileSync(join(state, 'server', 'admin-token'), 'utf8').trim();
    return { server, url, token, client: createClient({ server: url, token, awaitServer: true, patienceSeconds: 60, signal }) };
  } catch (error) {
    await server.stop(30);
    throw error;
  }
}
