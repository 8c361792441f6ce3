import { createHash } from 'node:crypto';
import type { Guest } from '../qemu/guest.js';
import { presentDisks } from '../qemu/guest-disks.js';
import { runCommand } from '../system/run-command.js';

/** Snapshots inside qcow2 files: writes after one go elsewhere in the same file. A name is in a file once at most, so that all of this may be repeated. */

/** Under which name a snapshot is in the files of its volumes. */
export function nameInFile(snapshotKey: string): string {
  return `v8-${createHash('sha256').update(snapshotKey).digest('hex').slice(0, 20)}`;
}

interface Block {
  readonly qdev?: string;
  readonly inserted?: { readonly image?: { readonly snapshots?: readonly { readonly name: string }[] } };
}

/** Takes one in all these disks of a running guest at one moment, or in none. */
export async function snapshotDisks(guest: Guest, places: readonly number[], name: string): Promise<void> {
  const present = await presentDisks(guest);
  const actions = places.map((place) => ({ type: 'blockdev-snapshot-internal-sync', data: { device: present.get(place)?.node, name } }));
  await guest.monitor.run('transaction', { actions });
}

/** Whether a disk of a running guest has it. */
export async function diskHasSnapshot(guest: Guest, place: number, name: string): Promise<boolean> {
  const blocks = (await guest.monitor.run('query-block')) as readonly Block[];
  const disk = blocks.find(({ qdev }) => qdev?.includes(`/vd${place}/`) === true);
  return disk?.inserted?.image?.snapshots?.some((snapshot) => snapshot.name === name) === true;
}

export async function dropDiskSnapshot(guest: Guest, place: number, name: string): Promise<void> {
  if (!(await diskHasSnapshot(guest, place, name))) return;
  const device = (await presentDisks(guest)).get(place)?.node;
  await guest.monitor.run('blockdev-snapshot-delete-internal-sync', { device, name });
}

/** The same of a file that nobody has open. */
export async function fileHasSnapshot(file: string, name: string): Promise<boolean> {
  const facts = JSON.parse(await runCommand('qemu-img', ['info', '--output=json', '-f', 'qcow2', file])) as {
    readonly snapshots?: readonly { readonly name: string }[];
  };
  return facts.snapshots?.some((snapshot) => snapshot.name === name) === true;
}

export async function snapshotFile(file: string, name: string): Promise<void> {
  await runCommand('qemu-img', ['snapshot', '-q', '-c', name, file]);
}

export async function dropFileSnapshot(file: string, name: string): Promise<void> {
  if (await fileHasSnapshot(file, name)) await runCommand('qemu-img', ['snapshot', '-q', '-d', name, file]);
}

/** Makes a file what it was. What was written since is lost, save where another snapshot has it. */
export async function revertFile(file: string, name: string): Promise<void> {
  await runCommand('qemu-img', ['snapshot', '-q', '-a', name, file]);
}
