import { link, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { portClaims as claims, freePort } from './free-port.js';
import type { PortForward } from './user-network.js';

/** Where no range is given: above those that kernels hand out to whoever asks for any. */
const usualRange = { first: 61_000, last: 65_535 };

/**
 * A port of the host for each of a guest's, those it had before where they are free still. May be repeated: what the owner has claimed and
 * does not need any more is given back. Raises Problem exhausted when the range has none left.
 */
export async function claimPorts(
  owner: string,
  ports: readonly number[],
  older: readonly PortForward[],
  address: string,
  range: { readonly first: number; readonly last: number } | undefined,
): Promise<PortForward[]> {
  await mkdir(claims, { recursive: true });
  const forwards: PortForward[] = [];
  for (const port of ports) {
    const before = older.find((forward) => forward.port === port)?.hostPort;
    const kept = before !== undefined && (await claim(before, owner)) ? before : undefined;
    forwards.push({ port, hostPort: kept ?? (await claimAny(owner, address, range ?? usualRange, forwards)) });
  }
  await releasePorts(owner, new Set(forwards.map(({ hostPort }) => hostPort)));
  return forwards;
}

/** Gives back an owner's ports, save some. */
export async function releasePorts(owner: string, kept: ReadonlySet<number> = new Set()): Promise<void> {
  for (const name of await readdir(claims).catch((): string[] => [])) {
    if (kept.has(Number(name)) || (await ownerOf(Number(name))) !== owner) continue;
    await rm(join(claims, name), { force: true });
  }
}

async function claimAny(
  owner: string,
  address: string,
  range: { readonly first: number; readonly last: number },
  own: readonly PortForward[],
): Promise<number> {
  const avoid = new Set(own.map(({ hostPort }) => hostPort));
  for (;;) {
    const port = await freePort(address, range, avoid);
    if (await claim(port, owner)) return port;
    avoid.add(port);
  }
}

async function claim(port: number, owner: string): Promise<boolean> {
  const draft = join(claims, `.${process.pid}.${port}`);
  try {
    await writeFile(draft, owner);
    await link(draft, join(claims, String(port)));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return (await ownerOf(port)) === owner;
    throw new Problem('internal', `${claims} cannot be written`, { cause: error });
  } finally {
    await rm(draft, { force: true });
  }
}

async function ownerOf(port: number): Promise<string> {
  return await readFile(join(claims, String(port)), 'utf8').catch(() => '');
}
