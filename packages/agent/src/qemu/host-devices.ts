import type { HostDevice } from '../pci/passthrough.js';
import { pciAddress } from './pci-address.js';

/** Beyond those of the disks' ports. */
const firstChassis = 101;
/** Memory beside its own that a guest with such devices may lock: what the devices' registers and QEMU itself take. */
const lockedBesideMiB = 1024;

/** Arguments for one device of the host, behind a port of its own: as PCI Express has it, and at the same place at every start. */
export function hostDeviceArguments({ place, functions }: HostDevice): string[] {
  const port = `host${place}`;
  return [
    '-device',
    `pcie-root-port,id=${port},chassis=${firstChassis + place},${pciAddress('hostDevicePort', place)}`,
    ...functions.flatMap((address, index) => [
      '-device',
      `vfio-pci,id=${port}f${index},host=${address},bus=${port},addr=0x0.0x${index}${index === 0 && functions.length > 1 ? ',multifunction=on' : ''}`,
    ]),
  ];
}

/** The same, read from a command line. */
export function hostDevicesFrom(devices: readonly string[]): HostDevice[] {
  const found = new Map<number, string[]>();
  for (const text of devices) {
    const [, address, place] = /^vfio-pci,.*host=([0-9a-f:.]+),bus=host(\d+),/.exec(text) ?? [];
    if (address === undefined) continue;
    found.set(Number(place), [...(found.get(Number(place)) ?? []), address]);
  }
  return [...found].map(([place, functions]) => ({ place, functions }));
}

/** Has a command run with leave to lock the guest's memory, which its devices read and write; that one process alone. */
export function lockingMemory(memoryMiB: number, command: readonly string[]): string[] {
  const bytes = (memoryMiB + lockedBesideMiB) * 1024 ** 2;
  return ['prlimit', `--memlock=${bytes}:${bytes}`, '--', ...command];
}
