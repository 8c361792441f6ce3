import { readdir, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { readText } from '../disk/atomic-file.js';
import type { PciFunction } from './pci-function.js';
import type { PciSystem } from './pci-system.js';

/** Why the host itself needs a function of those `asked` for, in words that follow "it", by address. What it does not need is absent. */
export async function readHostUse(
  system: PciSystem,
  functions: readonly PciFunction[],
  asked: (address: string) => boolean,
): Promise<ReadonlyMap<string, string>> {
  const uses = new Map<string, string>();
  for (const [address, reason] of [...(await interfaceUses(system)), ...(await diskUses(system, asked))])
    if (!uses.has(address)) uses.set(address, reason);
  for (const { address, isBootDisplay, virtualFunctions } of functions) {
    if (isBootDisplay) uses.set(address, 'is the display that the host itself boots on (boot VGA)');
    else if (virtualFunctions > 0)
      uses.set(address, `has ${virtualFunctions} virtual functions that are devices of their own; offer those instead`);
  }
  return uses;
}

/** The last PCI function on the way to a device: whatever is below it goes with it. */
async function functionBelow(path: string): Promise<string | undefined> {
  const real = await realpath(path).catch(() => '');
  return real.match(/[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7](?=\/|$)/g)?.at(-1);
}

type Uses = readonly (readonly [string, string])[];

async function interfaceUses(system: PciSystem): Promise<Uses> {
  const folder = join(system.sys, 'class/net');
  const reasons = new Map<string, string>();
  const note = async (name: string, reason: string): Promise<void> => {
    if (reasons.has(name)) return;
    reasons.set(name, reason);
    // A bridge, bond or VLAN uses what it stands on.
    for (const entry of await readdir(join(folder, name)).catch((): string[] => []))
      if (entry.startsWith('lower_')) await note(entry.slice('lower_'.length), reason);
  };
  for (const name of await defaultRoutes(system)) await note(name, `carries the host’s default route (${name})`);
  for (const [name, [address]] of Object.entries(system.addresses()))
    if (address !== undefined && name !== 'lo') await note(name, `has an address of the host’s, ${address} on ${name}`);
  const uses: [string, string][] = [];
  for (const [name, reason] of reasons) {
    const address = await functionBelow(join(folder, name));
    if (address !== undefined) uses.push([address, reason]);
  }
  return uses;
}

async function defaultRoutes({ proc }: PciSystem): Promise<ReadonlySet<string>> {
  const lines = async (name: string) => ((await readText(join(proc, 'net', name)).catch(() => undefined)) ?? '').split('\n');
  const found = new Set<string>();
  for (const line of await lines('route')) {
    const [name, destination, , , , , , mask] = line.split('\t');
    if (name !== undefined && destination === '00000000' && mask === '00000000') found.add(name);
  }
  for (const line of await lines('ipv6_route')) {
    const [destination = '', length, ...rest] = line.trim().split(/\s+/);
    const name = rest.at(-1);
    if (/^0{32}$/.test(destination) && length === '00' && name !== undefined && name !== 'lo') found.add(name);
  }
  return found;
}

async function diskUses(system: PciSystem, asked: (address: string) => boolean): Promise<Uses> {
  const folder = join(system.sys, 'class/block');
  const names = await readdir(folder).catch((): string[] => []);
  const reasons = new Map<string, string>();
  const note = async (name: string, reason: string): Promise<void> => {
    if (reasons.has(name)) return;
    reasons.set(name, reason);
    // What is mapped, mirrored or encrypted stands on others.
    for (const below of await readdir(join(folder, name, 'slaves')).catch((): string[] => [])) await note(below, reason);
  };
  const byNumber = new Map<string, string>();
  for (const name of names) byNumber.set(((await readText(join(folder, name, 'dev')).catch(() => '')) ?? '').trim(), name);
  for (const [source, where] of await mounts(system)) {
    const name = byNumber.get(source) ?? (source.startsWith('/') ? basename(source) : undefined);
    if (name !== undefined && names.includes(name)) await note(name, `has a disk of the host’s, ${name} (${where})`);
  }
  const uses: [string, string][] = [];
  for (const name of names) {
    const address = await functionBelow(join(folder, name));
    // Looking whether a disk is taken takes it for a moment: only of what is to be handed over.
    if (address === undefined || !asked(address)) continue;
    const [holder] = await readdir(join(folder, name, 'holders')).catch((): string[] => []);
    const reason =
      reasons.get(name) ??
      (holder === undefined ? undefined : `has a disk of the host’s, ${name} (under ${holder})`) ??
      ((await system.isTaken(join(system.dev, name))) ? `has a disk that something on the host has open for itself, ${name}` : undefined);
    if (reason !== undefined) uses.push([address, reason]);
  }
  return uses;
}

/** Device number or file of what is mounted or swapped to, and where. */
async function mounts({ proc }: PciSystem): Promise<Uses> {
  const found: [string, string][] = [];
  for (const line of ((await readText(join(proc, 'self/mountinfo')).catch(() => undefined)) ?? '').split('\n')) {
    const [, , number, , point] = line.split(' ');
    const source = / - \S+ (\S+)/.exec(line)?.[1];
    if (number === undefined || point === undefined) continue;
    found.push([number, `mounted at ${point}`]);
    if (source?.startsWith('/') === true) found.push([source, `mounted at ${point}`]);
  }
  for (const line of ((await readText(join(proc, 'swaps')).catch(() => undefined)) ?? '').split('\n').slice(1)) {
    const [file] = line.split(/\s/);
    if (file !== undefined && file !== '') found.push([file, 'swap']);
  }
  return found;
}
