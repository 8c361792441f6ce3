import { access, readdir, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errorCode, readText } from '../disk/atomic-file.js';
import type { PciSystem } from './pci-system.js';

/** The driver that makes a device usable for a guest's process. */
export const vfioDriver = 'vfio-pci';

/** One function of a PCI device, as the kernel has it. */
export interface PciFunction {
  /** `0000:41:00.0`. */
  readonly address: string;
  /** `vendor:device`, such as `10de:27b8`. */
  readonly id: string;
  /** Four hexadecimal digits: class and subclass. */
  readonly class: string;
  readonly driver: string | undefined;
  /** Devices of a group see each other's memory, so that they have one owner. Undefined: no IOMMU has it. */
  readonly group: number | undefined;
  /** Undefined where the machine has one memory for all. */
  readonly node: number | undefined;
  readonly isBootDisplay: boolean;
  /** So many virtual functions of its own are there. */
  readonly virtualFunctions: number;
}

/** Whether it only joins others; who has what is behind it has no need of it. */
export function isBridge(device: Pick<PciFunction, 'class'>): boolean {
  return device.class === '0604' || device.class === '0609';
}

/** A part of the chipset, which sits in a group and is nobody's: no reason against it unless a driver has it. */
export function isChipset(device: Pick<PciFunction, 'class'>): boolean {
  return device.class.startsWith('06');
}

export function devicePath({ sys }: Pick<PciSystem, 'sys'>, address: string): string {
  return join(sys, 'bus/pci/devices', address);
}

/** Every function there is, by address. */
export async function readFunctions(system: Pick<PciSystem, 'sys'>): Promise<readonly PciFunction[]> {
  const names = await readdir(join(system.sys, 'bus/pci/devices')).catch((): string[] => []);
  const found = await Promise.all(names.map(async (address) => await readFunction(system, address)));
  return found.flatMap((each) => each ?? []).sort((a, b) => (a.address < b.address ? -1 : 1));
}

/** Undefined when there is no such function (any more). */
export async function readFunction(system: Pick<PciSystem, 'sys'>, address: string): Promise<PciFunction | undefined> {
  const folder = devicePath(system, address);
  const text = async (name: string) => (await readText(join(folder, name)).catch(() => undefined))?.trim() ?? '';
  const hex = async (name: string) => (await text(name)).replace(/^0x/, '').toLowerCase();
  const vendor = await hex('vendor');
  if (vendor === '') return undefined;
  const node = Number((await text('numa_node')) || -1);
  const group = await linkName(join(folder, 'iommu_group'));
  return {
    address,
    id: `${vendor}:${await hex('device')}`,
    class: (await hex('class')).slice(0, 4),
    driver: await driverOf(system, address),
    group: group === undefined || (await isUnsafe(system, group)) ? undefined : Number(group),
    node: node >= 0 ? node : undefined,
    isBootDisplay: (await text('boot_vga')) === '1',
    virtualFunctions: Number((await text('sriov_numvfs')) || 0),
  };
}

export async function driverOf(system: Pick<PciSystem, 'sys'>, address: string): Promise<string | undefined> {
  return await linkName(join(devicePath(system, address), 'driver'));
}

/** A group that VFIO made up for a device without IOMMU: whoever has it may write to all memory of the host. */
async function isUnsafe({ sys }: Pick<PciSystem, 'sys'>, group: string): Promise<boolean> {
  return (await readText(join(sys, 'kernel/iommu_groups', group, 'name')).catch(() => undefined))?.trim() === 'vfio-noiommu';
}

/** What the IOMMU of this machine is to guests, in words. */
export async function readIommu({ sys }: Pick<PciSystem, 'sys'>): Promise<{ readonly on: boolean; readonly reason: string }> {
  const units = await readdir(join(sys, 'class/iommu')).catch((): string[] => []);
  const groups = await readdir(join(sys, 'kernel/iommu_groups')).catch((): string[] => []);
  if (units.length > 0 && groups.length > 0) return { on: true, reason: `${units.length} IOMMU, ${groups.length} groups of devices` };
  return { on: false, reason: 'no IOMMU: the kernel has none in use' };
}

export const iommuMend =
  'switch VT-d (Intel) or AMD-Vi/IOMMU (AMD) on in the firmware, and boot the kernel with intel_iommu=on iommu=pt (Intel) or iommu=pt (AMD)';

/** Whether the driver for guests is in the kernel. */
export async function hasVfio({ sys }: Pick<PciSystem, 'sys'>): Promise<boolean> {
  return await access(join(sys, 'bus/pci/drivers', vfioDriver)).then(
    () => true,
    () => false,
  );
}

async function linkName(path: string): Promise<string | undefined> {
  try {
    return basename(await readlink(path));
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return undefined;
  }
}
