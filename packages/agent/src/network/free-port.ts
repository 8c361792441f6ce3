import { readdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { Problem } from '@virt8ra/contract/plain';

/** Ports of this machine that lead to guests: a file each. Nobody listens on them, and who did would never be heard. */
export const portClaims = '/run/virt8ra/ports';

export async function claimedPorts(): Promise<Set<number>> {
  return new Set((await readdir(portClaims).catch((): string[] => [])).map(Number).filter(Number.isInteger));
}

/** A port that nobody listens on at `address` right now and nobody has claimed. Raises Problem exhausted when the range has none left. */
export async function freePort(
  address: string,
  range: { readonly first: number; readonly last: number } | undefined,
  avoid: ReadonlySet<number>,
): Promise<number> {
  const taken = new Set([...avoid, ...(await claimedPorts())]);
  if (range === undefined) {
    for (;;) {
      const port = await tryPort(address, 0);
      if (port !== undefined && !taken.has(port)) return port;
    }
  }
  for (let port = range.first; port <= range.last; port += 1) {
    if (!taken.has(port) && (await tryPort(address, port)) !== undefined) return port;
  }
  throw new Problem('exhausted', `no port between ${range.first} and ${range.last} is free at ${address}; widen --data-ports`);
}

async function tryPort(address: string, port: number): Promise<number | undefined> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(undefined);
      else
        reject(
          new Problem('unavailable', `cannot listen at ${address}: ${error.message}. Set --data-address to an address of this host.`, {
            cause: error,
          }),
        );
    });
    server.listen(port, address, () => {
      const bound = server.address();
      server.close(() => resolve(typeof bound === 'object' && bound !== null ? bound.port : undefined));
    });
  });
}
